"""What a training costs: seconds per thousand images, total seconds, peak memory, a block for each machine."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from structgan.identity import standing
from structgan.report import comparisons, sheets
from structgan.report.cells import Statistic, summarise
from structgan.report.layouts import PROBES
from structgan.report.records import Group, Suite, number
from structgan.report.statistics import lead

MACHINE = ("device", "threads", "processes")
LARGEST = ("peak_host_memory_mb", "peak_gpu_memory_mb", "parameters", "feature_dim")
HARDWARE = ("cpu", "cores", "gpu", "gpus")
FIELDS = (
    sheets.Field("machine", "Machine", place="block"),
    sheets.Field("dataset", "Data set", place="block"),
    sheets.Field("method", "Method"),
    sheets.Field("augmentation", "Augmentation"),
    sheets.Field("variant", "Variant"),
    sheets.Field("runs", "Runs", "number"),
    sheets.Field("seconds_per_thousand_images_mean", "Seconds per 1,000 images", "number"),
    sheets.Field("seconds_per_thousand_images_std", "Std", "number"),
    sheets.Field("relative", "Relative", "number"),
    sheets.Field("seconds_mean", "Seconds a run", "number"),
    sheets.Field("seconds_std", "", place="csv"),
    sheets.Field("images", "Images a run", "number"),
    sheets.Field("peak_host_memory_mb", "Peak memory, MiB", "number"),
    sheets.Field("peak_gpu_memory_mb", "Peak GPU memory, MiB", "number"),
    sheets.Field("parameters", "Parameters", "number"),
    sheets.Field("feature_dim", "Features", "number"),
)
CAPTION = (
    "Cost of training, from each run's env.json. Seconds per 1,000 images: wall time of training, the online probe "
    "and its scores included where there is one, over images drawn from the training set, mean over the runs; std: "
    "sample standard deviation (ddof = 1). Relative: that mean over the main method's on the same machine, under "
    "the same regime where it has it. Seconds a run: mean of the whole training. Peak memory: largest of the runs, "
    "resident in the training process, and allocated by PyTorch on the GPU. Parameters: of all networks that learn, "
    "heads and generator among them; features: length of the encoder's output, which two encoders of one network "
    "share. Runs of two machines never share a block: a machine is its processor, cores, GPU, threads, processes "
    "and version of PyTorch; whatever else it did at the time is in its seconds."
)


def machine(environment: Mapping[str, Any]) -> str:
    """What must be equal before two times may stand in one column, in words; a run of several is one of its own."""
    entries = [entry for entry in environment.get("submissions", []) if entry.get("steps") and "hardware" in entry]
    return " + ".join(dict.fromkeys(_words(entry) for entry in (entries or [environment])))


def _words(entry: Mapping[str, Any]) -> str:
    hardware = entry.get("hardware", {})
    told = {key: hardware.get(key) for key in HARDWARE} | {key: entry.get(key) for key in MACHINE}
    told["torch"] = entry.get("versions", {}).get("torch")
    return ", ".join(f"{key} {value}" for key, value in told.items() if value not in (None, 0))


def build(suite: Suite) -> sheets.Sheet:
    """A line per configuration and machine, a block per data set and machine."""
    found: dict[tuple[str, str], dict[Group, list[dict[str, Any]]]] = {}
    for group in suite.ordered:
        for row in suite.groups.get(group, []):
            if environment := _environment(suite, row):
                place = found.setdefault((group.dataset, machine(environment)), {})
                place.setdefault(group, []).append(environment)
    machines = list(dict.fromkeys(words for _, words in found))
    lines: list[sheets.Line] = []
    for (dataset, words), groups in found.items():
        name = str(machines.index(words) + 1)
        block = f"{suite.title('dataset', dataset)}, machine {name}"
        means = {group: entry.mean for group, runs in groups.items() if (entry := summarise(map(_speed, runs)))}
        for group, runs in groups.items():
            main = group if comparisons.is_main(suite, group) else comparisons.main_row(suite, group)
            base = means.get(main) if main else None
            lines.append(_line(suite, block, name, group, runs, base))
    notes = [f"Machine {number}: {words}." for number, words in enumerate(machines, 1)]
    if len(machines) > 1:
        notes.append("Runs of different machines stand in blocks of their own and do not compare.")
    return sheets.Sheet(
        "cost", "Cost of training", FIELDS, tuple(lines), CAPTION, tuple(notes), "No run is trained yet."
    )


def _environment(suite: Suite, row: int) -> dict[str, Any]:
    """A trained run's env.json with the length of its features; empty where it is of another identity than planned."""
    folder = Path(str(suite.lists["folder"][row]))
    environment = standing.environment(folder, suite.lists["identity"][row])
    if not environment:
        return {}
    return environment | {"feature_dim": suite.probes.get(row, {}).get("encoder", {}).get("dim")}


def _speed(environment: Mapping[str, Any]) -> float:
    """Seconds per thousand images; NaN where nothing was trained."""
    seconds, images = number(environment, "seconds"), number(environment, "images")
    return 1000 * seconds / images if images > 0 else math.nan


def _line(
    suite: Suite, block: str, name: str, group: Group, runs: Sequence[Mapping[str, Any]], base: float | None
) -> sheets.Line:
    speed = summarise(map(_speed, runs))
    seconds, images = (summarise(number(run, key) for run in runs) for key in ("seconds", "images"))
    relative = speed.mean / base if speed and base else None
    numbers = {
        "seconds_per_thousand_images_mean": _shown(speed, "mean", 2),
        "seconds_per_thousand_images_std": _shown(speed, "std", 2),
        "relative": _number(relative, 2),
        "seconds_mean": _shown(seconds, "mean", 1),
        "seconds_std": _shown(seconds, "std", 1),
        "images": _shown(images, "mean", 0),
        **{key: _number(_largest(runs, key), 0) for key in LARGEST},
    }
    named = {key: entry for key, entry in lead(suite, group, PROBES[0]).items() if key != "metric"}
    runs_ = {"machine": sheets.Entry(name), "runs": sheets.Entry(str(len(runs)))}
    return sheets.Line(block, {**named, **runs_, **numbers}, group)


def _largest(runs: Sequence[Mapping[str, Any]], key: str) -> float | None:
    return max((value for run in runs if not math.isnan(value := number(run, key))), default=None)


def _shown(statistic: Statistic | None, part: str, digits: int) -> sheets.Entry:
    return _number(getattr(statistic, part) if statistic else None, digits)


def _number(value: float | None, digits: int) -> sheets.Entry:
    return sheets.number(value, "" if value is None else f"{value:,.{digits}f}")
