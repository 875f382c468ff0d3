"""Metrics and protocols: what a suite measures, and what must be equal before two of its numbers are compared."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from structgan.errors import UserError
from structgan.evaluation import Column, Evaluation

DASH = "—"
MACHINE = ("device", "threads", "processes")
HARDWARE = ("cpu", "cores", "gpu", "gpus")
MAIN = ("linear", "svm", "kmeans", "knn", "fid", "is")
"""The metrics of short overviews."""
STORED = {"%": "fraction", "seconds": "s", "peak_host_memory_mb": "MiB", "peak_gpu_memory_mb": "MiB"}
"""The unit of a stored value, by the unit of its column or by its name."""
IMAGES = {"scenes": "Digit scenes", "voc": "Pascal VOC"}


@dataclass(frozen=True)
class Metric(Column):
    """A column of an evaluation; ``star`` is what its * stands for, where its name was declared with one."""

    evaluation: str = ""
    star: str = ""

    @property
    def title(self) -> str:
        """Its heading with the unit; an arrow shows the better direction of numbers that are not per cent."""
        unit = {"%": " %", "‰": " × 1000"}.get(self.unit, "")
        plain = self.unit == "%" or self.evaluation == "training"
        return f"{self.label}{unit}{'' if plain else {'higher': ' ↑', 'lower': ' ↓'}.get(self.better, '')}"

    @property
    def brief(self) -> str:
        """Its heading where room is scarce."""
        return self.title.replace(self.label, self.short or self.label)

    @property
    def sign(self) -> int:
        """1 where larger is better, −1 where smaller is, 0 where neither is."""
        return {"higher": 1, "lower": -1}.get(self.better, 0)

    @property
    def stored(self) -> str:
        """The unit of its stored values."""
        return STORED.get(self.unit) or STORED.get(self.name, "")


TRAINING = tuple(
    Metric(name, name, label, better=better, digits=0, evaluation="training")
    for name, label, better in (
        ("seconds", "Training, s", "lower"),
        ("images", "Images a run", ""),
        ("images_per_second", "Images per second", "higher"),
        ("parameters", "Parameters", ""),
        ("peak_host_memory_mb", "Peak memory, MiB", "lower"),
        ("peak_gpu_memory_mb", "Peak GPU memory, MiB", "lower"),
    )
)
"""The metrics of the evaluation "training"; their names are keys of env.json."""
MEMORY = Metric("memory", "memory", "Peak memory, MiB", better="lower", digits=0, evaluation="training")
"""The GPU's where there was one, else the process's. The tables of axes show it, and what was logged of monitors."""
PARTS = ("mean", "max")


def monitored(monitor: str) -> Iterator[Metric]:
    """The mean and the maximum of what a training logged of a monitor."""
    for part in PARTS:
        name, label = f"{monitor}_{part}", f"{monitor.replace('_', ' ')}, {part} of training"
        yield Metric(name, name, label, better="lower", digits=2, evaluation="training")


def filled(entry: Evaluation, records: Iterable[Mapping[str, Any]], words: Mapping[str, str]) -> Iterator[Metric]:
    """The metrics of an evaluation; a column with a * gives one for each text that the records hold in its place.

    ``words`` are titles of such texts.
    """
    leaves = dict.fromkeys(key for record in records for key, _ in flat(record["metrics"]))
    stars: dict[str, list[Metric]] = {}
    for column in entry.columns:
        pattern = re.compile(re.escape(column.path).replace(r"\*", "([^.]+)"))
        if "*" not in column.name:
            yield Metric(**vars(column), evaluation=entry.name)
        for text in (match[1] for match in map(pattern.fullmatch, leaves) if match and pattern.groups):
            shown = {"name": text, "path": text, "label": words.get(text) or IMAGES.get(text, text)}
            parts = {key: getattr(column, key).replace("*", new) for key, new in shown.items()}
            stars.setdefault(text, []).append(Metric(**{**vars(column), **parts}, evaluation=entry.name, star=text))
    for text in sorted(stars, key=lambda text: (float(text) if re.fullmatch(r"[\d.]+", text) else math.inf, text)):
        yield from stars[text]


def flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested mappings as (keys joined by dots, value), sorted by key."""
    if isinstance(value, Mapping):
        for key in sorted(value):
            yield from flat(value[key], f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value


def number(value: Any) -> float:
    """A finite number as a float, anything else as NaN."""
    ok = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if ok else math.nan


def shown(value: float, metric: Column, beside: float | None = None, sign: str = "") -> str:
    """A number in its metric's unit and digits, with a true minus; ``+`` as the sign shows that of a difference, too.

    A deviation or a difference has the digits of the mean that it is beside. Where the number has no unit, there are
    two digits more below 1: a small extractor's FIDs are small.
    """
    value = float(f"{value:.8g}")  # as the csv has it, so that every form of a table rounds the same number
    small = abs(value if beside is None else beside) < 1
    digits = metric.digits + 2 * (metric.scale == 1.0 and metric.digits == 2 and small)
    return f"{value * metric.scale:{sign}.{digits}f}".replace("-", "−")


def protocols(
    runs: Iterable[Mapping[str, Any]], records: Mapping[tuple[str, str], Mapping[str, Any]]
) -> dict[str, dict[str, dict[str, Any]]]:
    """The one protocol of each data set and evaluation, by dotted keys: ``{dataset: {"probe": {...}, …}}``.

    A protocol may differ between data sets (classes, an extractor that was trained on the data set): tables show them
    in blocks.

    Raises:
        UserError: two numbers of a data set have two protocols, or are from two versions of the data. It names the two
            results, the key and its two values.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    first: dict[tuple[str, str], tuple[str, dict[str, Any]]] = {}
    for run in runs:
        for name, file in run["evaluations"].items():
            record = records.get((run["run"], name))
            if record is None or record.get("reason"):  # it has no numbers
                continue
            data = {"content_hash": record.get("dataset", {}).get("content_hash")}
            mine, place = dict(flat({**record.get("protocol", {}), "dataset": data})), f"{run['run']}/{file}"
            found.setdefault(run["dataset"], {}).setdefault(name, mine)
            for kind, now in ((name, mine), ("data", {"dataset.content_hash": data["content_hash"]})):
                other, theirs = first.setdefault((run["dataset"], kind), (place, now))
                for key in sorted(key for key in {*theirs, *now} if theirs.get(key) != now.get(key)):
                    raise UserError(
                        f"{other} and {place}: protocols differ in '{key}' ({theirs.get(key)!r} against "
                        f"{now.get(key)!r}): a column never mixes two protocols, evaluate them again under one"
                    )
    return found


def sentence(protocol: Mapping[str, Any], prefix: str = "") -> str:
    """The keys under a prefix in words: ``split train→test, n_train 6000, …``."""
    head = f"{prefix}." if prefix else ""
    found = {key.removeprefix(head): value for key, value in protocol.items() if key.startswith(head)}
    return ", ".join(f"{key} {text(value)}" for key, value in found.items() if value is not None)


def text(value: Any) -> str:
    """A value in words; of a hash its first digits."""
    words = f"{value:g}" if isinstance(value, float) else str(value)
    return words[:12] + "…" if len(words) == 64 and set(words) <= set("0123456789abcdef") else words


def machine(environment: Mapping[str, Any]) -> str:
    """What must be equal before two times are compared, in words; a run on several machines is a machine of its own."""
    entries = [entry for entry in environment.get("submissions", []) if entry.get("steps") and "hardware" in entry]
    return " + ".join(dict.fromkeys(map(_machine, entries or [environment])))


def _machine(entry: Mapping[str, Any]) -> str:
    parts = {key: entry.get("hardware", {}).get(key) for key in HARDWARE} | {key: entry.get(key) for key in MACHINE}
    parts["torch"] = entry.get("versions", {}).get("torch")
    return ", ".join(f"{key} {value}" for key, value in parts.items() if value not in (None, 0))
