"""How sure the means are: an interval for each, and paired tests of every row against the main row of its data set."""

import functools
import itertools

from structgan.report.cells import Cell, Heading, Row, Table, figure, lead, naming, numbers, word
from structgan.report.metrics import Metric, shown
from structgan.report.results import Group, Suite
from structgan.report.rows import main_row, rises
from structgan.report.statistics import Paired, holm, interval, paired, tied

TESTED = ("linear", "knn", "fid")
LEVEL = 0.05
RISE = Metric("rise", "", "Rise of the curve", unit="%", evaluation="training")
FEWEST = 3
"""Seeds below which an interval or a test says nothing; the page leaves such a table out."""
LEAD = lead("dataset", "metric", "method", "augmentation", "variant", blocks=("dataset", "metric"))
BOUNDS = {"ci_low": "95 % from", "ci_high": "to"}


def intervals(suite: Suite) -> Table:
    """A row per mean of an evaluation, and of the curves' rise: seeds, mean, standard deviation and 95 % interval."""
    known = [metric for name in suite.metrics if name in suite.plan["evaluations"] for metric in suite.metrics[name]]
    rows, most = [], 0
    for metric, group in itertools.product([*known, RISE], suite.ordered):
        if statistic := rises(suite).get(group) if metric is RISE else suite.statistic(group, metric):
            low, high = interval(statistic)
            values = {"mean": statistic.mean, "std": statistic.std, "ci_low": low, "ci_high": high}
            form = functools.partial(shown, metric=metric, beside=statistic.mean)
            cells = {key: figure(value, form, group) for key, value in values.items()}
            rows.append(_row(suite, group, metric, "", {"n": word(statistic.n), **cells}))
            most = max(most, statistic.n)
    rows.sort(key=lambda row: suite.rank("dataset", row.group.dataset))
    return Table(
        "statistics", "Statistics over seeds", (*LEAD, *numbers(n="Seeds", mean="Mean", std="Std", **BOUNDS)), rows,
        section="statistics", empty="No run is finished yet.", silent=f"fewer than {FEWEST} seeds" * (most < FEWEST),
    )  # fmt: skip


def table(suite: Suite) -> Table:
    """Paired tests: a row per configuration and metric, a block per data set and metric."""
    name = suite.title("method", suite.main_method) if suite.main_method else "the main method"
    blocks: dict[tuple[int, bool, int], list[tuple[Group, Group]]] = {}
    for (at, metric), group in itertools.product(enumerate(map(suite.metric, TESTED)), suite.groups):
        main = main_row(suite, group)
        asked = main and suite.asked(group, metric.evaluation) and suite.asked(main, metric.evaluation)
        if main and asked and not (group.method == main.method and suite.is_main(group)):
            key = suite.rank("dataset", group.dataset), group.method == main.method, at
            blocks.setdefault(key, []).append((group, main))
    rows, most = list[Row](), 0
    for (_, own, at), pairs in sorted(blocks.items()):
        metric, title = suite.metric(TESTED[at]), f", variants of {name}" if own else ""
        found = [paired(suite.values(group, metric), suite.values(main, metric)) for group, main in pairs]
        for (group, main), result, p in zip(pairs, found, holm([result.p for result in found]), strict=True):
            rows.append(_row(suite, group, metric, title, _test(suite, metric, group, main, result, p)))
            most = max(most, result.n)
    against = tuple(f"against_{kind}" for kind in ("method", "augmentation", "variant"))
    headings = (
        Heading("against", "Compared with", csv=against),
        *numbers(shared_seeds="Shared seeds", difference="Difference", **BOUNDS, p="p", p_holm="p, Holm"),
        Heading("tied", "Tie"), Heading("note", "Note", "long"),
    )  # fmt: skip
    return Table(
        "comparisons", f"Paired tests against {name}", (*LEAD, *headings), rows, section="statistics",
        empty=f"No row shares a data set with a row of {name}.",
        silent=f"fewer than {FEWEST} shared seeds" * (most < FEWEST),
    )  # fmt: skip


def _test(suite: Suite, metric: Metric, group: Group, main: Group, result: Paired, p: float | None) -> dict[str, Cell]:
    one, two = suite.statistic(group, metric), suite.statistic(main, metric)
    tie = {True: "yes", False: "no"}[tied(one, two)] if one and two else ""
    against = suite.title("method", main.method)
    if main.augmentation != group.augmentation:
        against += f", {suite.title('augmentation', main.augmentation)}"
    bounds = {"difference": result.difference, "ci_low": result.low, "ci_high": result.high}
    form = functools.partial(shown, metric=metric, beside=two.mean if two else None, sign="+")
    return {
        "against": Cell(against, list(main[1:])),
        "shared_seeds": word(result.n),
        **{key: figure(value, form, group) for key, value in bounds.items()},
        "p": figure(result.p, _chance, group),
        "p_holm": figure(p, _chance, group, strong=p is not None and p < LEVEL),
        "tied": word("≈" if tie == "yes" else "", tie),
        "note": word(result.note),
    }


def _chance(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _row(suite: Suite, group: Group, metric: Metric, more: str, cells: dict[str, Cell]) -> Row:
    named = naming(suite, group) | {"metric": word(metric.title, metric.name)}
    return Row(f"{suite.title('dataset', group.dataset)}: {metric.title}{more}", named | cells, group)
