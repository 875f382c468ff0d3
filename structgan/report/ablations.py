"""The tables of an ablation: the variants of a method, and the values of each setting that is varied."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from structgan.report import means
from structgan.report.cells import Heading, Row, Table, lead, word
from structgan.report.means import SEEDS, protocol_notes
from structgan.report.metrics import Metric, number
from structgan.report.statistics import Statistic, summarize
from structgan.report.suite import SECTIONS, Group, Suite

MEMORY = Metric("memory", "", "Peak memory, MiB", better="lower", digits=0, evaluation="training")

Point = Mapping[str, Any]


@dataclass(frozen=True)
class Family:
    """The points of an axis that are planned for a method on a data set under an augmentation, in the axis's order."""

    dataset: str
    method: str
    augmentation: str
    points: tuple[Point, ...]

    def group(self, point: Point) -> Group:
        """The runs of a point."""
        return Group(self.dataset, self.method, self.augmentation, point["variant"])

    def title(self, suite: Suite) -> str:
        """Where its numbers are from, in words."""
        words = suite.words(self.group(self.points[0]))
        return f"{words['dataset']}, {words['method']}, augmentation: {words['augmentation']}"


def variants(suite: Suite) -> dict[str, Any]:
    """The variants of every method as an axis, ``full`` or the first being the default."""
    points: dict[str, dict[str, Point]] = {}
    for group in suite.ordered:
        label = suite.title("variant", group.variant)
        point = {"value": group.variant, "variant": group.variant, "label": label, "default": suite.is_main(group)}
        points.setdefault(group.method, {})[group.variant] = point
    found = {method: list(found.values()) for method, found in points.items()}
    return {"title": "Variants", "points": found, "columns": ("linear", "kmeans", "fid")}


def families(suite: Suite, axis: Mapping[str, Any]) -> list[Family]:
    """Where an axis is planned, in the plan's order; a family with the default as its only point is left out."""
    found = []
    for place in dict.fromkeys(group[:3] for group in suite.groups):
        points = axis["points"].get(place[1], ())
        points = tuple(point for point in points if Group(*place, point["variant"]) in suite.groups)
        found += [Family(*place, points)] if any(not point["default"] for point in points) else []
    return found


def columns(suite: Suite, axis: Mapping[str, Any]) -> dict[str, Metric]:
    """The metrics of an axis: accuracy, FID, cost; of each monitor the mean and the largest record."""
    if "columns" in axis:
        return {name: suite.metric(name) for name in axis["columns"]}
    found = {name: suite.metric(name) for name in ("linear", "fid", "seconds")} | {"memory": MEMORY}
    for name in (f"{monitor}_{part}" for monitor in axis.get("monitors", ()) for part in ("mean", "max")):
        label = f"{name[: name.rindex('_')].replace('_', ' ')}, {name[name.rindex('_') + 1 :]} of training"
        found[name] = Metric(name, "", label, better="lower", digits=2, evaluation="training")
    return found


def measured(suite: Suite, group: Group, metric: Metric) -> list[float]:
    """A number of each finished run of a group, NaN where a run has none.

    Memory is the GPU's where there was one, else the process's.
    """
    if metric is MEMORY:
        runs = suite.of(group, "training")
        return [number(run.get("peak_gpu_memory_mb") or run.get("peak_host_memory_mb")) for run in runs]
    if metric.path:
        return list(suite.values(group, metric).values())
    name, _, part = metric.name.rpartition("_")
    return [float(one.max() if part == "max" else one.mean()) for one in logged(suite, group, name)]


def logged(suite: Suite, group: Group, monitor: str) -> list[pd.Series]:
    """What each finished run logged of a monitor, by step; runs without it are left out."""
    return [history[monitor].dropna() for history in suite.histories(group) if monitor in history]


def accuracies(suite: Suite, family: Family) -> list[tuple[Point, Statistic]]:
    """The points of a family that have a linear probe, and it."""
    linear = suite.metric("linear")
    pairs = [(point, summarize(measured(suite, family.group(point), linear))) for point in family.points]
    return [(point, found) for point, found in pairs if found]


def tables(suite: Suite) -> Iterator[Table]:
    """The table of variants, and one for each axis of the plan."""
    axis = variants(suite)
    mine = {(family.dataset, family.method) for family in families(suite, axis)}
    own = [group for group in suite.groups if suite.method(group.method).get("kind") == "method"]
    alone = [group for group in own if group[:2] not in mine]
    rows = _rows(suite, axis, "full") + [_row(suite, group, columns(suite, axis), "full") for group in alone]
    yield Table(
        "ablation", "Ablation", _headings(suite, axis, tuple(SECTIONS), "full"), rows,
        means.notes(suite, rows, "probe"), "ablation", ("ablation", "means"),
        silent="" if mine else "no method has two variants",
    )  # fmt: skip
    for axis in suite.axes:
        named = ("axis", "means", *(["monitors"] if axis.get("monitors") else []))
        rows = _rows(suite, axis, "default")
        headings = _headings(suite, axis, (*tuple(SECTIONS)[:3], "value"), "default")
        yield Table(
            axis["file"], f"Ablation: {axis['title']}",
            (*headings, Heading("variant", place="csv"), Heading("default", place="csv")), rows,
            (*means.notes(suite, rows, "probe", ("linear",)), *protocol_notes(suite, "fidelity")), "ablation", named,
        )  # fmt: skip


def _headings(suite: Suite, axis: Mapping[str, Any], names: tuple[str, ...], base: str) -> tuple[Heading, ...]:
    found = columns(suite, axis).items()
    return (*lead(*names), SEEDS, *(means.heading(key, metric, _layout(base)) for key, metric in found))


def _layout(base: str) -> tuple[str, ...]:
    return (*means.LAYOUT, f"minus_{base}")


def _rows(suite: Suite, axis: Mapping[str, Any], base: str) -> list[Row]:
    """A row per value, with the difference to the default's."""
    found, shown = list[Row](), columns(suite, axis)
    for family in families(suite, axis):
        block = [_row(suite, family.group(point), shown, base) for point in family.points]
        for row, point in zip(block, family.points, strict=True):
            row.cells["value"] = word(point["label"] + " (default)" * point["default"], point["value"])
            row.cells["default"] = word(str(point["default"]).lower())
        means.mark(block, {key: metric for key, metric in shown.items() if metric.evaluation != "training"})
        default = next((row for row in block if row.cells["default"].words == "true"), None)
        # Seconds depend on the other load on the machine and are not compared.
        means.compare(block, {key: metric for key, metric in shown.items() if key != "seconds"}, default)
        found += block
    return found


def _row(suite: Suite, group: Group, shown: Mapping[str, Metric], base: str) -> Row:
    cells = {
        key: means.mean(suite, group, metric, _layout(base), None if metric.path else measured(suite, group, metric))
        for key, metric in shown.items()
    }
    return means.row(suite, group, "probe", cells)
