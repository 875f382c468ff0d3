"""What a training costs: seconds per thousand images, total seconds, peak memory, a block for each machine."""

import math
from collections.abc import Sequence

from structgan.report.cells import Cell, Heading, Row, Table, digits, figure, lead, naming, numbers, word
from structgan.report.metrics import DASH, Metric, machine, number, shown
from structgan.report.results import Group, Run, Suite
from structgan.report.rows import main_row
from structgan.report.statistics import summarize

PACE = Metric("seconds_per_thousand_images", "", "Seconds per 1,000 images", digits=2, evaluation="training")
HEADINGS = (
    *lead("machine", "dataset", "method", "augmentation", "variant", blocks=("machine", "dataset")),
    *numbers(runs="Runs"),
    Heading(PACE.name, PACE.label, "number", csv=(f"{PACE.name}_mean", f"{PACE.name}_std")),
    *numbers(
        relative="Relative", seconds_mean="Seconds a run", seconds_std="", images="Images a run",
        gflops="GFLOP a run", peak_host_memory_mb="Memory, MiB", peak_gpu_memory_mb="GPU memory, MiB",
        parameters="Parameters", feature_dim="Features",
    ),
)  # fmt: skip


def table(suite: Suite) -> Table:
    """A row per configuration and machine, a block per data set and machine."""
    found: dict[tuple[str, str], dict[Group, list[Run]]] = {}
    for group in suite.ordered:
        for record in suite.of(group, "training"):
            found.setdefault((group.dataset, machine(record)), {}).setdefault(group, []).append(record)
    machines = list(dict.fromkeys(words for _, words in found))
    rows = []
    for (dataset, words), groups in found.items():
        name = str(machines.index(words) + 1)
        for group, runs in groups.items():
            main = main_row(suite, group)
            cells = _cells(suite, group, runs, groups.get(main, []) if main else [])
            block = f"{suite.title('dataset', dataset)}, machine {name}"
            rows.append(Row(block, {**naming(suite, group), "machine": word(name), **cells}, group))
    notes = [f"Machine {at}: {words}." for at, words in enumerate(machines, 1)]
    notes += ["Times of different machines do not compare."] if len(machines) > 1 else []
    empty = "No run is trained yet."
    return Table("cost", "Cost of training", HEADINGS, rows, tuple(notes), "statistics", empty=empty)


def pace(record: Run) -> float:
    """Seconds per thousand images; NaN where nothing was trained."""
    return 1000 * number(record.get("seconds")) / (number(record.get("images")) or float("nan"))


def _cells(suite: Suite, group: Group, runs: list[Run], base: list[Run]) -> dict[str, Cell]:
    speed, (own, theirs) = summarize(map(pace, runs)), (min(map(pace, each), default=math.nan) for each in (runs, base))
    seconds, images, gflops = (
        summarize(number(run.get(key)) for run in runs) for key in ("seconds", "images", "gflops")
    )
    probed = suite.of(group, "probe")
    values = {
        "relative": (None if math.isnan(own / theirs) else own / theirs, 2),
        "seconds_mean": (seconds and seconds.mean, 1),
        "seconds_std": (seconds and seconds.std, 1),
        "images": (images and images.mean, 0),
        "gflops": (gflops and gflops.mean, 0),
        **{key: (_largest(runs, key), 0) for key in ("peak_host_memory_mb", "peak_gpu_memory_mb", "parameters")},
        "feature_dim": (_largest(probed, "feature_dim"), 0),
    }
    cells = {key: figure(value, f"{{:,.{places}f}}".format, group) for key, (value, places) in values.items()}
    csv = [digits(speed.mean), digits(speed.std)] if speed else ["", ""]
    words = shown(speed.mean, PACE) if speed else DASH
    return {"runs": word(len(runs)), PACE.name: Cell(words, csv, group=group, statistic=speed, metric=PACE), **cells}


def _largest(records: Sequence[Run], key: str) -> float | None:
    return max((record[key] for record in records if record.get(key)), default=None)
