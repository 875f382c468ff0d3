"""What a training costs: seconds per thousand images, total seconds, peak memory, a block for each machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from structgan.report.cells import Cell, Heading, Row, Table, figure, lead, naming, word
from structgan.report.comparisons import main_row
from structgan.report.metrics import number
from structgan.report.protocols import machine
from structgan.report.statistics import summarise
from structgan.report.suite import Group, Suite

LARGEST = ("peak_host_memory_mb", "peak_gpu_memory_mb", "parameters", "feature_dim")
PACE = "seconds_per_thousand_images"
HEADINGS = (
    *lead("machine", "dataset", "method", "augmentation", "variant", blocks=("machine", "dataset")),
    Heading("runs", "Runs", "number"),
    Heading(f"{PACE}_mean", "Seconds per 1,000 images", "number"),
    Heading(f"{PACE}_std", "Std", "number"),
    Heading("relative", "Relative", "number"),
    Heading("seconds_mean", "Seconds a run", "number"),
    Heading("seconds_std", "", place="csv"),
    Heading("images", "Images a run", "number"),
    Heading("peak_host_memory_mb", "Peak memory, MiB", "number"),
    Heading("peak_gpu_memory_mb", "Peak GPU memory, MiB", "number"),
    Heading("parameters", "Parameters", "number"),
    Heading("feature_dim", "Features", "number"),
)
CAPTION = (
    "Cost of training, as each run's env.json records it. Seconds per 1,000 images: wall time of the training, with "
    "the online probe where there is one, over the images that it drew; mean over the runs. Std: sample standard "
    "deviation (ddof = 1). Relative: that mean over the main method's on the same machine, under the same augmentation"
    " where the main method has it. Seconds a run: mean of the whole training. Peak memory: the largest of the runs, "
    "in the training process; GPU: as PyTorch allocated it. Parameters: of all networks that learn, heads and "
    "generator included. Features: length of the encoder's output. Runs of two machines never share a block. A machine"
    " is its processor, cores, GPU, threads, processes and version of PyTorch; other load on it is part of the "
    "seconds."
)


def table(suite: Suite) -> Table:
    """A row per configuration and machine, a block per data set and machine."""
    found: dict[tuple[str, str], dict[Group, list[Mapping[str, Any]]]] = {}
    for group in suite.ordered:
        for record in suite.of(group, "training"):
            found.setdefault((group.dataset, machine(record)), {}).setdefault(group, []).append(record)
    machines = list(dict.fromkeys(words for _, words in found))
    rows = []
    for (dataset, words), groups in found.items():
        name = str(machines.index(words) + 1)
        means = {group: entry.mean for group, runs in groups.items() if (entry := summarise(map(pace, runs)))}
        for group, runs in groups.items():
            base = means.get(main_row(suite, group) or group)
            main = group.method == suite.main_method and suite.is_main(group)
            cells = _cells(suite, group, runs, base if main or main_row(suite, group) else None)
            block = f"{suite.title('dataset', dataset)}, machine {name}"
            rows.append(Row(block, naming(suite, group) | {"machine": word(name)} | cells, group))
    notes = [f"Machine {at}: {words}." for at, words in enumerate(machines, 1)]
    notes += ["Times of different machines do not compare."] if len(machines) > 1 else []
    return Table(
        "cost", "Cost of training", HEADINGS, rows, CAPTION, tuple(notes), section="statistics",
        empty="No run is trained yet.",
    )  # fmt: skip


def pace(record: Mapping[str, Any]) -> float:
    """Seconds per thousand images; NaN where nothing was trained."""
    return 1000 * number(record.get("seconds")) / (number(record.get("images")) or float("nan"))


def _cells(suite: Suite, group: Group, runs: Sequence[Mapping[str, Any]], base: float | None) -> dict[str, Cell]:
    speed = summarise(map(pace, runs))
    seconds, images = (summarise(number(run.get(key)) for run in runs) for key in ("seconds", "images"))
    largest = {key: summarise([max(values)]) for key in LARGEST if (values := _values(suite, group, runs, key))}
    numbers = {
        f"{PACE}_mean": (speed and speed.mean, 2),
        f"{PACE}_std": (speed and speed.std, 2),
        "relative": (speed.mean / base if speed and base else None, 2),
        "seconds_mean": (seconds and seconds.mean, 1),
        "seconds_std": (seconds and seconds.std, 1),
        "images": (images and images.mean, 0),
        **{key: (found.mean if (found := largest.get(key)) else None, 0) for key in LARGEST},
    }
    shown = {key: figure(v, "" if v is None else f"{v:,.{digits}f}", group) for key, (v, digits) in numbers.items()}
    return {"runs": word(len(runs)), **shown}


def _values(suite: Suite, group: Group, runs: Sequence[Mapping[str, Any]], key: str) -> list[float]:
    if key == "feature_dim":
        runs = [
            record.get("encoder", {}) | {key: record.get("encoder", {}).get("dim")}
            for record in suite.of(group, "probe")
        ]
    return [value for run in runs if (value := number(run.get(key))) == value]
