"""The table of a suite that chooses settings: each method's trials, on every data set and in the mean over them."""

import itertools
from collections.abc import Iterator

from structgan.report import means
from structgan.report.cells import Row, Table, figure, lead, naming, numbers
from structgan.report.metrics import Metric, shown
from structgan.report.results import Group, Suite


def tables(suite: Suite) -> Iterator[Table]:
    """A block per method and augmentation, a row per trial, the best mean marked; for a suite with ``selected_by``.

    A method's trials are in the order of their axes' values. Of every metric that may choose, larger is better. A trial
    of which a seed is not finished on some data set has no mean, so that it cannot be the best.
    """
    if not suite.plan.get("selected_by"):
        return
    metric, rows = suite.metric(suite.plan["selected_by"]), list[Row]()
    datasets = list(dict.fromkeys(group.dataset for group in suite.ordered))
    trials = sorted({group._replace(dataset="") for group in suite.groups}, key=suite.place)
    for place, found in itertools.groupby(trials, key=lambda trial: trial[:3]):
        points = [point["variant"] for axis in suite.axes for point in axis["points"].get(place[1], ())]
        order = {variant: at for at, variant in enumerate(dict.fromkeys(points))}
        tried = sorted(found, key=lambda trial: order.get(trial.variant, -1))
        averages = {trial: _average(suite, trial, datasets, metric) for trial in tried}
        best = max((mean for mean in averages.values() if mean is not None), default=None)
        for trial, mean in averages.items():
            words = suite.words(trial)
            cells = {key: means.mean(suite, trial._replace(dataset=key), metric) for key in datasets}
            cells["mean"] = figure(mean, lambda value: shown(value, metric), trial, mean == best)
            title = f"{words['method']}, augmentation: {words['augmentation']} ({len(averages)} trials)"
            rows.append(Row(title, {**naming(suite, trial), **cells}, trial))
    columns = (means.heading(key, metric, means.LAYOUT, suite.title("dataset", key)) for key in datasets)
    names = lead("method", "augmentation", "variant", blocks=("method", "augmentation"))
    yield Table(
        "selection", f"Selection by {metric.title}", (*names, *columns, *numbers(mean="Mean over data sets")), rows,
        (*means.protocol_notes(suite, metric.evaluation, (metric.path.split(".")[0],)),),
    )  # fmt: skip


def _average(suite: Suite, trial: Group, datasets: list[str], metric: Metric) -> float | None:
    found = [means.mean(suite, trial._replace(dataset=key), metric) for key in datasets]
    finished = [cell.statistic.mean for cell in found if cell.statistic and not cell.seeds]
    return sum(finished) / len(datasets) if len(finished) == len(datasets) else None
