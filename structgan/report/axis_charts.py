"""The chart of each axis of an ablation: probe, FID and cost by its values, and what was logged during training."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

from structgan.report import axes, sensitivity
from structgan.report.axes import COLUMNS, MEMORY, SECONDS, Family, accuracies, place_of
from structgan.report.cells import Column, summarise
from structgan.report.grids import mean_line, smooth
from structgan.report.records import Suite
from structgan.report.style import COLOURS, HALO, INK, MUTED, colours, empty

PANEL_IN, GAP_IN, LEFT_IN, TALL_IN, HEAD_IN, FOOT_IN = 2.55, 0.62, 0.62, 1.55, 0.55, 0.4


def figures(suite: Suite) -> dict[str, Callable[[Suite], Any]]:
    """What draws each figure of the axes, by the stem of its file; none for a suite without axes."""
    drawn: dict[str, Callable[[Suite], Any]] = {
        axis["file"]: functools.partial(draw, axis=axis) for axis in axes.axes(suite).values()
    }
    return drawn | ({"sensitivity": sensitivity.draw} if drawn else {})


def draw(suite: Suite, axis: Mapping[str, Any]) -> Any:
    """A row of panels for each data set, method and regime: probe, FID, seconds and memory against the value.

    Where the axis has monitors, a second row shows them over training, a line a value.
    """
    import matplotlib.pyplot as plt

    found = [family for family in axes.families(suite, axis) if accuracies(suite, family)]
    if not found:
        return empty("No finished run on this axis yet: nothing to draw.")
    monitors = axis.get("monitors", ())
    points = [point for family in found for point in family.points]
    named = not all(numeric(point["value"]) for point in points)  # words need room beside the panel
    left = 0.3 + 0.072 * max(len(point["label"]) for point in points) if named else LEFT_IN
    tall = 0.34 * max(len(family.points) for family in found) + 0.2 if named else TALL_IN
    block = HEAD_IN + tall + FOOT_IN + (HEAD_IN + TALL_IN if monitors else 0)
    width, height = left + len(COLUMNS) * (PANEL_IN + GAP_IN), len(found) * block + 0.05
    figure = plt.figure(figsize=(width, height))

    def panel(index: int, top: float, tall: float) -> Any:
        box = (left + index * (PANEL_IN + GAP_IN), top - HEAD_IN - tall, PANEL_IN, tall)
        return figure.add_axes((box[0] / width, box[1] / height, box[2] / width, box[3] / height))

    for line, family in enumerate(found):
        top = height - line * block
        words = place_of(suite, family.dataset, family.method, family.augmentation)
        figure.text(0.1 / width, (top - 0.2) / height, f"{axis['title']}: {words}", fontweight="bold", fontsize=10.5)
        for index, column in enumerate(COLUMNS):
            drawn = panel(index, top, tall)
            by_value(drawn, suite, family, column, named)
            drawn.tick_params(axis="y", labelleft=not named or index == 0)
        for index, monitor in enumerate(monitors):
            drawn = panel(index, top - HEAD_IN - tall, TALL_IN)
            over_training(drawn, suite, family, monitor, index + 1 == len(monitors))
    return figure


def by_value(panel: Any, suite: Suite, family: Family, column: Column, named: bool) -> None:
    """One number by the values, evenly spaced: mean ± std, seeds as dots, the default filled and its mean dotted.

    Numbers stand along the bottom and are joined by a line; names stand one below the other.
    """
    colour, default = colours(suite)[family.method], panel.axvline if named else panel.axhline
    means: list[tuple[int, float]] = []
    for place, point in enumerate(family.points):
        values = [v for v in axes.measured(suite, family.group(point), column.key) if not math.isnan(v)]
        values = [value * column.scale for value in values]
        found = summarise(values)
        if found is None:
            continue
        means.append((place, found.mean))
        half = found.std or 0.0
        (panel.hlines if named else panel.vlines)(
            place, found.mean - half, found.mean + half, color=colour, linewidth=1.4, zorder=2.5
        )
        beside = [place + 0.16] * len(values)
        panel.scatter(*turned(beside, values, named), s=9, color=colour, alpha=0.6, linewidth=0)
        panel.plot(
            *turned([place], [found.mean], named), marker="o", markersize=6.5, markeredgewidth=1.6, zorder=4,
            markerfacecolor=colour if point["default"] else HALO, markeredgecolor=colour,
        )  # fmt: skip
        if point["default"]:
            default(found.mean, color=colour, linewidth=1.0, linestyle=":", zorder=0.9)
    if means and not named:
        panel.plot(*zip(*means, strict=True), color=colour, linewidth=1.6, zorder=2)
    if not means:
        panel.text(0.5, 0.5, "no number", transform=panel.transAxes, ha="center", va="center", color=MUTED, fontsize=9)
    panel.set_title(column.title, fontsize=9, fontweight="normal", color=MUTED)
    places, numbers = (panel.yaxis, panel.xaxis) if named else (panel.xaxis, panel.yaxis)
    places.set_ticks(range(len(family.points)), [point["label"] for point in family.points], fontsize=8.5)
    for tick, point in zip(places.get_ticklabels(), family.points, strict=True):
        tick.set(color=INK, fontweight="bold" if point["default"] else "normal")
    places.grid(visible=False)
    numbers.set_tick_params(labelsize=8)
    panel.locator_params(axis="x" if named else "y", nbins=5)
    if named:
        panel.set_ylim(len(family.points) - 0.5, -0.5)
        panel.spines["bottom"].set_visible(False)
    else:
        panel.set_xlim(-0.5, len(family.points) - 0.5)
    if column in (SECONDS, MEMORY) and means:
        top = 1.1 * max(numbers.get_data_interval()[1], 1.0)
        (panel.set_xlim if named else panel.set_ylim)(0, top)


def turned(places: list[float], values: list[float], named: bool) -> tuple[list[float], list[float]]:
    """The two as x and y: values along the bottom where the points are named."""
    return (values, places) if named else (places, values)


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
