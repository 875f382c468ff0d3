"""The axes of an ablation suite: for each setting that is varied, what its values cost and give, as a table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from structgan.files import read_json
from structgan.report import protocols
from structgan.report.cells import Cell, Column, Row, Statistic, Table, mark_best, summarise, tied
from structgan.report.grids import finished
from structgan.report.layouts import FID, MEAN, PROBES, TIES
from structgan.report.notes import notes_of, protocol_notes
from structgan.report.records import SECTIONS, Group, Suite

LINEAR = PROBES[0]
SECONDS = Column("seconds", "Training, s", 1.0, 0, -1)
MEMORY = Column("memory", "Peak memory, MiB", 1.0, 0, -1)
COLUMNS = (LINEAR, FID, SECONDS, MEMORY)


@dataclass(frozen=True)
class Family:
    """The points of an axis that were planned for one method on one data set under one regime, in the axis's order."""

    dataset: str
    method: str
    augmentation: str
    points: tuple[Mapping[str, Any], ...]

    def group(self, point: Mapping[str, Any]) -> Group:
        """The runs of a point."""
        return Group(self.dataset, self.method, self.augmentation, point["variant"])


def axes(suite: Suite) -> dict[str, dict[str, Any]]:
    """The plan's axes by name; a suite without any has none."""
    found: dict[str, dict[str, Any]] = suite.plan.get("axes", {})
    return found


def families(suite: Suite, axis: Mapping[str, Any]) -> Iterator[Family]:
    """Where an axis was planned, in the plan's order; one of whose points only the default is planned is left out."""
    places = dict.fromkeys((group.dataset, group.method, group.augmentation) for group in suite.ordered)
    for dataset, method, augmentation in places:
        points = tuple(
            point
            for point in axis["points"].get(method, ())
            if Group(dataset, method, augmentation, point["variant"]) in suite.groups
        )
        if any(not point["default"] for point in points):
            yield Family(dataset, method, augmentation, points)


def measured(suite: Suite, group: Group, name: str) -> list[float]:
    """A number of each finished run of a group: a metric, ``seconds`` or ``memory``, NaN where a run has none."""
    if name not in ("seconds", "memory"):
        return [float(value) for value in suite.values(group, name)]
    found = []
    for path in finished(suite, group, "env.json"):
        env = read_json(path)
        host = env.get("peak_host_memory_mb")
        value = env.get("seconds") if name == "seconds" else env.get("peak_gpu_memory_mb") or host
        found.append(math.nan if value is None else float(value))
    return found


def place_of(suite: Suite, dataset: str, method: str, augmentation: str) -> str:
    """Where a figure's numbers were taken, in words."""
    regime = suite.title("augmentation", augmentation)
    return f"{suite.title('dataset', dataset)}, {suite.title('method', method)}, augmentation: {regime}"


def accuracies(suite: Suite, family: Family) -> list[tuple[Mapping[str, Any], Statistic]]:
    """The points of a family that have a linear probe, and it."""
    pairs = [(point, summarise(measured(suite, family.group(point), "linear"))) for point in family.points]
    return [(point, found) for point, found in pairs if found]


def logged(suite: Suite, group: Group, monitor: str) -> list[list[tuple[int, float]]]:
    """(step, value) of each record in which a finished run logged a monitor; the runs without it are left out."""
    series = []
    for path in finished(suite, group, "history.json"):
        records = read_json(path).get("records", [])
        series.append([(r["step"], float(r["losses"][monitor])) for r in records if monitor in r.get("losses", {})])
    return [line for line in series if line]


def columns(axis: Mapping[str, Any]) -> tuple[Column, ...]:
    """Accuracy, FID, cost, and of each monitor its mean and its largest record."""
    more = [
        Column(f"{name}_{part}", f"{name.replace('_', ' ')}, {part} of training", 1.0, 2, -1)
        for name in axis.get("monitors", ())
        for part in ("mean", "max")
    ]
    return (*COLUMNS, *more)


def statistic(suite: Suite, group: Group, axis: Mapping[str, Any], column: Column) -> Statistic | None:
    """Mean and deviation over the finished seeds of one column."""
    name, _, part = column.key.rpartition("_")
    if name not in axis.get("monitors", ()):
        return summarise(measured(suite, group, column.key))
    series = [[value for _, value in line] for line in logged(suite, group, name)]
    return summarise(max(line) if part == "max" else math.fsum(line) / len(line) for line in series)


def tables(suite: Suite) -> dict[str, Table]:
    """A table of each axis by the stem of its file; none for a suite without axes.

    Raises:
        UserError: a column would mix two protocols.
    """
    if not axes(suite):
        return {}
    protocols.check(suite)
    return {axis["file"]: table(suite, axis) for axis in axes(suite).values()}


def table(suite: Suite, axis: Mapping[str, Any]) -> Table:
    """One row per value, with the difference to the default's; a block per data set, method and regime."""
    told = columns(axis)
    rows: list[Row] = []
    for family in families(suite, axis):
        block = mark_best([row(suite, family, point, axis, told) for point in family.points], (LINEAR, FID))
        default = next((one for one, point in zip(block, family.points, strict=True) if point["default"]), None)
        rows += [one if one is default or default is None else compared(one, default, told) for one in block]
    title = f"Ablation: {axis['title']}"
    caption = (
        f"{axis['title']}: one setting varied, all else equal. {MEAN} {TIES} In brackets: difference to the default "
        "(points for accuracies). Seconds and memory of training, on the machines that the runs were trained on: "
        "memory of the GPU where there was one, else of the process."
    )
    if axis.get("monitors"):
        caption += " Mean and max of training: over the records of a run's history, each the mean of the steps between."
    notes = (
        *notes_of(suite, rows),
        *protocol_notes(suite, "probe", ("linear",)),
        *protocol_notes(suite, "fidelity", ("",)),
    )
    return Table(
        axis["file"], title, (*tuple(SECTIONS)[:3], "value"), told, tuple(rows), caption, notes,
        extra=("variant", "default"), layout=("mean", "std", "minus_default"), delta="default",
    )  # fmt: skip


def row(
    suite: Suite, family: Family, point: Mapping[str, Any], axis: Mapping[str, Any], told: tuple[Column, ...]
) -> Row:
    """One value's row."""
    group = family.group(point)
    states = suite.values(group, "probe")
    done = sum(state == "finished" or (suite.include_stale and state == "stale") for state in states)
    keys = dict(zip(SECTIONS, group, strict=True)) | {"value": point["value"]}
    words = {kind: suite.title(kind, keys[kind]) for kind in SECTIONS}
    words["value"] = point["label"] + (" (default)" if point["default"] else "")
    cells = {column.key: cell(suite, group, axis, column) for column in told}
    extra = {"variant": group.variant, "default": str(point["default"]).lower()}
    return Row(keys, words, cells, done, len(states), extra=extra)


def cell(suite: Suite, group: Group, axis: Mapping[str, Any], column: Column) -> Cell:
    """One column of a value: a number, or why there is none."""
    planned = len(suite.groups[group])
    if column is FID and not suite.samples(group.method):
        return Cell(planned=planned, state="no sample")
    found = statistic(suite, group, axis, column)
    if found is None and column not in COLUMNS and any(state == "finished" for state in suite.values(group, "probe")):
        return Cell(planned=planned, state="no sample")  # such as sigma where nothing computes it
    stale = suite.include_stale and "stale" in suite.values(group, "fidelity" if column is FID else "probe")
    return Cell(found, planned, "missing" if found is None else "value", stale=stale and found is not None)


def compared(one: Row, default: Row, told: tuple[Column, ...]) -> Row:
    """A row with each cell's difference to the default's; not of seconds, which hang on what else a machine did."""
    cells = dict(one.cells)
    for column in (column for column in told if column is not SECONDS):
        mine, theirs = one.cells[column.key].statistic, default.cells[column.key].statistic
        if mine and theirs:
            cells[column.key] = replace(cells[column.key], delta=mine.mean - theirs.mean, within=tied(mine, theirs))
    return replace(one, cells=cells)


def captions(suite: Suite) -> dict[str, tuple[str, str]]:
    """Title and words of each figure of the axes, for the page."""
    found = {
        axis["file"]: (
            str(axis["title"]),
            "Each value of one setting, all else equal: mean over seeds ± one standard deviation, dots: seeds; the "
            "default is filled and its mean dotted."
            + (" Below: what was logged during training, mean over seeds." if axis.get("monitors") else ""),
        )
        for axis in axes(suite).values()
    }
    words = (
        "Which setting matters: for each axis the linear probe at its values, the widest range first. The line is the "
        "default, the band ± its standard deviation over seeds. By chance alone, more values make a wider range."
    )
    return found | ({"sensitivity": ("Sensitivity", words)} if found else {})
