"""The tables of an ablation: the variants of a method, and the values of each setting that is varied."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from structgan.report import means
from structgan.report.cells import Heading, Row, Table, lead, word
from structgan.report.metrics import PARTS, Metric
from structgan.report.results import SECTIONS, Group, Suite

Point = Mapping[str, Any]


class Family(NamedTuple):
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
    monitors = (f"{monitor}_{part}" for monitor in axis.get("monitors", ()) for part in PARTS)
    names = axis.get("columns") or ("linear", "fid", "seconds", "memory", *monitors)
    return {name: suite.metric(name) for name in names}


def tables(suite: Suite) -> Iterator[Table]:
    """The table of variants, and one for each axis of the plan."""
    axis, layout = variants(suite), (*means.LAYOUT, "minus_full")
    shown = columns(suite, axis)
    rows = _rows(suite, axis, layout)
    varied = {row.group[:2] for row in rows}
    for group in suite.groups:
        if suite.method(group.method).get("kind") == "method" and group[:2] not in varied:
            rows += means.block(suite, [group], shown, "probe", layout)
    yield Table(
        "ablation", "Ablation", means.headings(lead(*SECTIONS), shown, layout), rows,
        means.notes(suite, rows, "probe"), "ablation", ("ablation", "means"),
        silent="" if varied else "no method has two variants",
    )  # fmt: skip
    for axis in suite.axes:
        layout, rows = (*means.LAYOUT, "minus_default"), _rows(suite, axis, (*means.LAYOUT, "minus_default"))
        headings = means.headings(lead(*tuple(SECTIONS)[:3], "value"), columns(suite, axis), layout)
        notes = means.notes(suite, rows, "probe", ("linear",)), means.protocol_notes(suite, "fidelity")
        yield Table(
            axis["file"], f"Ablation: {axis['title']}",
            (*headings, Heading("variant", kind="csv"), Heading("default", kind="csv")), rows,
            (*notes[0], *notes[1]), "ablation", ("axis", "means", *(["monitors"] if axis.get("monitors") else [])),
        )  # fmt: skip


def _rows(suite: Suite, axis: Mapping[str, Any], layout: tuple[str, ...]) -> list[Row]:
    """A row per value, with the difference to the default's."""
    found = list[Row]()
    for family in families(suite, axis):
        groups = [family.group(point) for point in family.points]
        base = next((group for group, point in zip(groups, family.points, strict=True) if point["default"]), None)
        block = means.block(suite, groups, columns(suite, axis), "probe", layout, base)
        for row, point in zip(block, family.points, strict=True):
            row.cells["value"] = word(point["label"] + " (default)" * point["default"], point["value"])
            row.cells["default"] = word(str(point["default"]).lower())
        found += block
    return found
