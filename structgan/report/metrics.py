"""The metrics of a suite: what evaluations declare in ``COLUMNS``, and what a training measures of itself."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from structgan.evaluation import Column, Evaluation

TRAINING = (
    Column("seconds", "seconds", "Training, s", better="lower", digits=0),
    Column("images", "images", "Images a run", digits=0),
    Column("images_per_second", "images_per_second", "Images per second", better="higher", digits=0),
    Column("parameters", "parameters", "Parameters", digits=0),
    Column("peak_host_memory_mb", "peak_host_memory_mb", "Peak memory, MiB", better="lower", digits=0),
    Column("peak_gpu_memory_mb", "peak_gpu_memory_mb", "Peak GPU memory, MiB", better="lower", digits=0),
)
STORED = {"%": "fraction", "seconds": "s", "peak_host_memory_mb": "MiB", "peak_gpu_memory_mb": "MiB"}
"""The unit of a stored value, by the unit of its column or by its name."""
IMAGES = {"scenes": "Digit scenes", "voc": "Pascal VOC"}
DASH = "—"


@dataclass(frozen=True)
class Metric(Column):
    """A column of an evaluation.

    Attributes:
        evaluation: its evaluation's name.
        star: what its * stands for, where its name was declared with one.
    """

    evaluation: str = ""
    star: str = ""

    @property
    def title(self) -> str:
        """Its heading with the unit; an arrow shows the better direction of numbers that are not per cent."""
        unit = {"%": " %", "‰": " × 1000", "": ""}[self.unit]
        plain = self.unit == "%" or self.evaluation == "training" or not self.better
        return f"{self.label}{unit}{'' if plain else ' ↑' if self.better == 'higher' else ' ↓'}"

    @property
    def brief(self) -> str:
        """Its heading where room is scarce."""
        return self.title.replace(self.label, self.short or self.label)

    @property
    def sign(self) -> int:
        """1 where larger is better, −1 where smaller is, 0 where neither is."""
        return {"higher": 1, "lower": -1}.get(self.better, 0)

    def stored_unit(self) -> str:
        """The unit of its stored values."""
        return STORED.get(self.unit) or STORED.get(self.name, "")


def of_training() -> list[Metric]:
    """The metrics of the evaluation "training"."""
    return [Metric(**vars(column), evaluation="training") for column in TRAINING]


def filled(entry: Evaluation, records: Iterable[Mapping[str, Any]], words: Mapping[str, str]) -> Iterator[Metric]:
    """The metrics of an evaluation: a column with a * once for each text that the records hold in its place.

    Args:
        entry: what the evaluation's module declares.
        records: results of the evaluation.
        words: titles of the texts that have one.
    """
    leaves = dict.fromkeys(key for record in records for key, _ in flat(record["metrics"]))
    stars: dict[str, list[Metric]] = {}
    for column in entry.columns:
        if "*" not in column.name:
            yield Metric(**vars(column), evaluation=entry.name)
            continue
        pattern = re.compile(re.escape(column.path).replace(r"\*", "([^.]+)"))
        for text in (match[1] for match in map(pattern.fullmatch, leaves) if match):
            shown = words.get(text) or IMAGES.get(text, text)
            parts = {key: getattr(column, key).replace("*", text) for key in ("name", "path")}
            parts |= {key: getattr(column, key).replace("*", shown) for key in ("label", "short")}
            stars.setdefault(text, []).append(
                Metric(**vars(replace(column, **parts)), evaluation=entry.name, star=text)
            )
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


def shown(value: float, metric: Column, beside: float | None = None) -> str:
    """A number in its metric's unit and digits.

    Args:
        value: as it is stored.
        metric: which number it is.
        beside: the mean that a deviation or a difference belongs to; it then has the mean's digits.
    """
    value = float(f"{value:.8g}")  # as the csv has it, so that every form of a table rounds the same number
    return f"{value * metric.scale:.{_digits(metric, value if beside is None else beside)}f}"


def signed(value: float, metric: Column, beside: float | None = None) -> str:
    """A difference with its sign; a true minus."""
    return f"{value * metric.scale:+.{_digits(metric, value if beside is None else beside)}f}".replace("-", "−")


def _digits(metric: Column, value: float) -> int:
    """Two more below 1 where the number has no unit: a small extractor's FIDs are small."""
    return metric.digits + 2 * (metric.scale == 1.0 and metric.digits == 2 and abs(value) < 1)
