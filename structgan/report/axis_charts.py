"""The charts of an ablation suite: each axis by its values, and the axes side by side by what they do to the probe."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from structgan.report import axes
from structgan.report.axes import COLUMNS, LINEAR, Family
from structgan.report.cells import Column, Statistic, summarise
from structgan.report.grids import mean_line, smooth
from structgan.report.markup import shown
from structgan.report.records import Suite
from structgan.report.style import COLOURS, GRID, HALO, INK, MUTED, colours, empty

PANEL_IN, GAP_IN, LEFT_IN = 2.55, 0.62, 0.62
ROW_IN = 0.46


def figures(suite: Suite) -> dict[str, Callable[[Suite], Any]]:
    """What draws each figure of the axes, by the stem of its file; none for a suite without axes."""
    drawn: dict[str, Callable[[Suite], Any]] = {
        axis["file"]: functools.partial(draw, axis=axis) for axis in axes.axes(suite).values()
    }
    return drawn | ({"sensitivity": sensitivity} if drawn else {})


def draw(suite: Suite, axis: Mapping[str, Any]) -> Any:
    """A row of panels for each data set, method and regime: probe, FID, seconds and memory against the value.

    Where the axis has monitors, a second row shows them over training, a line a value.
    """
    import matplotlib.pyplot as plt

    found = [family for family in axes.families(suite, axis) if accuracies(suite, family)]
    if not found:
        return empty("No finished run on this axis yet: nothing to draw.")
    monitors = axis.get("monitors", ())
    across = any(len(point["label"]) > 8 for family in found for point in family.points)  # words lie across, then
    foot = 0.15 + (0.07 * max(len(p["label"]) for f in found for p in f.points) if across else 0.25)
    tall, head = 1.55, 0.55
    block = head + tall + foot + (tall + 0.95 if monitors else 0)
    width, height = LEFT_IN + len(COLUMNS) * (PANEL_IN + GAP_IN), len(found) * block + 0.05
    figure = plt.figure(figsize=(width, height))
    for line, family in enumerate(found):
        top = height - line * block
        words = place_of(suite, family.dataset, family.method, family.augmentation)
        figure.text(0.012, (top - 0.2) / height, f"{axis['title']}: {words}", fontweight="bold", fontsize=10.5)
        for index, column in enumerate(COLUMNS):
            base = top - head - tall
            box = ((LEFT_IN + index * (PANEL_IN + GAP_IN)) / width, base / height, PANEL_IN / width, tall / height)
            by_value(figure.add_axes(box), suite, family, column, across)
        for index, monitor in enumerate(monitors):
            base = top - head - 2 * tall - foot - 0.45
            box = ((LEFT_IN + index * (PANEL_IN + GAP_IN)) / width, base / height, PANEL_IN / width, tall / height)
            over_training(figure.add_axes(box), suite, family, monitor, index + 1 == len(monitors))
    return figure


def place_of(suite: Suite, dataset: str, method: str, augmentation: str) -> str:
    """Where a figure's numbers were taken, in words."""
    regime = suite.title("augmentation", augmentation)
    return f"{suite.title('dataset', dataset)}, {suite.title('method', method)}, augmentation: {regime}"


def accuracies(suite: Suite, family: Family) -> list[tuple[Mapping[str, Any], Statistic]]:
    """The points of a family that have a linear probe, and it."""
    pairs = [(point, summarise(axes.measured(suite, family.group(point), "linear"))) for point in family.points]
    return [(point, found) for point, found in pairs if found]


def by_value(panel: Any, suite: Suite, family: Family, column: Column, across: bool) -> None:
    """One number against the values, evenly spaced: mean ± std, seeds as dots, the default filled and dotted."""
    colour = colours(suite)[family.method]
    drawn: list[tuple[int, Statistic]] = []
    for place, point in enumerate(family.points):
        values = [v for v in axes.measured(suite, family.group(point), column.key) if not math.isnan(v)]
        if found := summarise(values):
            drawn.append((place, found))
            beside = [place + 0.14] * len(values)
            panel.scatter(beside, [v * column.scale for v in values], s=9, color=colour, alpha=0.6, linewidth=0)
            if point["default"]:
                panel.axhline(found.mean * column.scale, color=colour, linewidth=1.0, linestyle=":", zorder=0.9)
    panel.set_title(column.title, fontsize=9, fontweight="normal", color=MUTED)
    labels = [point["label"] for point in family.points]
    turned = {"rotation": 38, "ha": "right", "rotation_mode": "anchor"} if across else {}
    panel.set_xticks(range(len(labels)), labels, fontsize=8.5, **turned)
    for tick, point in zip(panel.get_xticklabels(), family.points, strict=True):
        tick.set(color=INK, fontweight="bold" if point["default"] else "normal")
    panel.set_xlim(-0.5, len(labels) - 0.5)
    panel.grid(axis="x", visible=False)
    panel.tick_params(axis="y", labelsize=8)
    panel.locator_params(axis="y", nbins=5)
    if not drawn:
        panel.text(
            0.5, 0.5, "no number", transform=panel.transAxes, ha="center", va="center", color=MUTED, fontsize=8.5
        )
        return
    if all(numeric(point["value"]) for point in family.points):
        panel.plot(
            [x for x, _ in drawn], [f.mean * column.scale for _, f in drawn], color=colour, linewidth=1.6, zorder=2
        )
    for place, found in drawn:
        mean, half = found.mean * column.scale, (found.std or 0.0) * column.scale
        panel.vlines(place, mean - half, mean + half, color=colour, linewidth=1.4, zorder=2.5)
        full = family.points[place]["default"]
        panel.plot(
            place, mean, marker="o", markersize=6.5, markerfacecolor=colour if full else HALO, markeredgecolor=colour,
            markeredgewidth=1.6, zorder=4,
        )  # fmt: skip
    if column.key in ("seconds", "memory"):
        panel.set_ylim(0, 1.05 * panel.get_ylim()[1])


def numeric(value: str) -> bool:
    """Whether a value's text is a number: only numbers have something between them that a line may cross."""
    try:
        return math.isfinite(float(value))
    except ValueError:
        return False


def over_training(panel: Any, suite: Suite, family: Family, monitor: str, legend: bool) -> None:
    """A monitor over the steps, mean over seeds of its running mean, a line a value, on a logarithmic scale."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    values: list[float] = []
    for place, point in enumerate(family.points):
        series = [smooth(line) for line in axes.logged(suite, family.group(point), monitor)]
        steps, mean = mean_line(series) if series else ([], [])
        values += mean
        label = point["label"] + (" (default)" if point["default"] else "")
        panel.plot(
            steps, mean, color=COLOURS[place % len(COLOURS)], linewidth=2.2 if point["default"] else 1.4, label=label,
            linestyle="-" if place < len(COLOURS) else "--",
        )  # fmt: skip
    if values and min(values) > 0:
        panel.set_yscale("log")
        panel.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=6))
        panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        panel.yaxis.set_minor_formatter(NullFormatter())
    panel.set_title(f"{monitor.replace('_', ' ')}, by step", fontsize=9, fontweight="normal", color=MUTED)
    panel.tick_params(labelsize=8, which="both")
    if legend:
        panel.legend(loc="center left", bbox_to_anchor=(1.06, 0.5), fontsize=8.5)


def sensitivity(suite: Suite) -> Any:
    """The range of the linear probe over the values of each axis, the widest first, about the default ± std."""
    import matplotlib.pyplot as plt

    blocks: dict[tuple[str, str, str], list[tuple[str, list[tuple[Mapping[str, Any], Statistic]]]]] = {}
    for axis in axes.axes(suite).values():
        for family in axes.families(suite, axis):
            if len(found := accuracies(suite, family)) > 1:
                key = (family.dataset, family.method, family.augmentation)
                blocks.setdefault(key, []).append((str(axis["title"]), found))
    if not blocks:
        return empty("No axis with two finished values yet: nothing to compare.")
    label = 0.3 + 0.075 * max(len(title) for rows in blocks.values() for title, _ in rows)
    head, foot, width = 0.55, 0.62, label + 6.6
    height = sum(len(rows) * ROW_IN + head + foot for rows in blocks.values())
    figure, top = plt.figure(figsize=(width, height)), height
    for (dataset, method, augmentation), rows in blocks.items():
        words = place_of(suite, dataset, method, augmentation)
        figure.text(label / width, (top - 0.25) / height, words, fontweight="bold", fontsize=10.5)
        tall = len(rows) * ROW_IN
        panel = figure.add_axes((label / width, (top - head - tall) / height, 5.5 / width, tall / height))
        ranges(panel, sorted(rows, key=lambda row: -spread(row[1])), colours(suite)[method])
        top -= head + foot + tall
    return figure


def spread(points: Sequence[tuple[Mapping[str, Any], Statistic]]) -> float:
    """The largest mean of an axis less its smallest."""
    means = [found.mean for _, found in points]
    return max(means) - min(means)


def ranges(panel: Any, rows: Sequence[tuple[str, list[tuple[Mapping[str, Any], Statistic]]]], colour: str) -> None:
    """A bar an axis from its lowest to its highest mean, the values as dots, the ends named."""
    for place, (_, points) in enumerate(rows):
        ordered = sorted(points, key=lambda entry: entry[1].mean)
        means = [found.mean * LINEAR.scale for _, found in ordered]
        panel.hlines(place, means[0], means[-1], color=colour, alpha=0.3, linewidth=7, zorder=2)
        for (point, _), mean in zip(ordered, means, strict=True):
            face = colour if point["default"] else HALO
            panel.plot(mean, place, marker="o", markersize=6, markerfacecolor=face, markeredgecolor=colour, zorder=4)
        for (point, _), mean, side, aligned in (
            (ordered[0], means[0], -8, "right"),
            (ordered[-1], means[-1], 8, "left"),
        ):
            panel.annotate(
                point["label"], (mean, place), xytext=(side, 0), textcoords="offset points", ha=aligned, va="center",
                fontsize=8, color=INK, fontweight="bold" if point["default"] else "normal", annotation_clip=False,
            )  # fmt: skip
        told = f"{shown(spread(points), LINEAR)} points"
        panel.annotate(
            told, (1.0, place), xycoords=("axes fraction", "data"), xytext=(8, 0), textcoords="offset points",
            va="center", fontsize=8.5, color=MUTED, annotation_clip=False,
        )  # fmt: skip
    default = next((found for _, points in rows for point, found in points if point["default"]), None)
    if default:
        mean, half = default.mean * LINEAR.scale, (default.std or 0.0) * LINEAR.scale
        panel.axvline(mean, color=INK, linewidth=1.0, linestyle=":", zorder=1)
        panel.axvspan(mean - half, mean + half, color=GRID, alpha=0.6, linewidth=0, zorder=0.5)
    panel.set_yticks(range(len(rows)), [title for title, _ in rows])
    panel.set_ylim(len(rows) - 0.45, -0.55)
    panel.tick_params(axis="y", colors=INK)
    panel.margins(x=0.3)
    panel.grid(axis="y", visible=False)
    panel.set_xlabel(f"{LINEAR.title}; dotted: default, band: ± its deviation over seeds")
