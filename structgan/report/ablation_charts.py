"""The figures of an ablation: a chart of each axis, and the axes side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from structgan.report import ablations
from structgan.report.ablations import Family, Point, accuracies, measured
from structgan.report.metrics import Metric, shown
from structgan.report.statistics import Statistic, summarize
from structgan.report.style import COLORS, GRID, HALO, INK, MUTED, canvas, colors, empty, mean_line, place, smooth
from structgan.report.suite import Suite

PANEL_IN, GAP_IN, LEFT_IN, TALL_IN, HEAD_IN, FOOT_IN = 2.55, 0.62, 0.62, 1.55, 0.55, 0.4
ROW_IN, WIDE_IN = 0.46, 6.4

Points = list[tuple[Point, Statistic]]


def axis(suite: Suite, axis: Mapping[str, Any]) -> Any:
    """A row of panels for each data set, method and augmentation: probe, FID, seconds and memory against the value.

    Where the axis has monitors, a second row shows them over training, a line per value. Variants are shown under the
    weakest augmentation under which a method has several; the table has them all.
    """
    found = [family for family in ablations.families(suite, axis) if accuracies(suite, family)]
    if "columns" in axis:
        found = list({(family.dataset, family.method): family for family in reversed(found)}.values())[::-1]
    if not found:
        return empty("Nothing to draw: no value is finished.")
    monitors, points = axis.get("monitors", ()), [point for family in found for point in family.points]
    metrics = list(ablations.columns(suite, axis).values())[:4]  # without monitors
    named = not all(_numeric(point["value"]) for point in points)  # words need room beside the panel
    left = 0.3 + 0.072 * max(len(point["label"]) for point in points) if named else LEFT_IN
    tall = 0.34 * max(len(family.points) for family in found) + 0.2 if named else TALL_IN
    block = HEAD_IN + tall + FOOT_IN + (HEAD_IN + TALL_IN if monitors else 0)
    width, height = left + len(metrics) * (PANEL_IN + GAP_IN), len(found) * block + 0.05
    figure = canvas((width, height))
    for line, family in enumerate(found):
        top, words = height - line * block, f"{axis['title']}: {family.title(suite)}"
        figure.text(0.1 / width, (top - 0.2) / height, words, fontweight="bold", fontsize=10.5)
        for index, metric in enumerate(metrics):
            panel = place(figure, (left + index * (PANEL_IN + GAP_IN), top - HEAD_IN - tall, PANEL_IN, tall))
            _by_value(panel, suite, family, metric, named)
            panel.tick_params(axis="y", labelleft=not named or index == 0)
        for index, monitor in enumerate(monitors):
            base = top - 2 * HEAD_IN - tall - TALL_IN
            panel = place(figure, (left + index * (PANEL_IN + GAP_IN), base, PANEL_IN, TALL_IN))
            _over_training(panel, suite, family, monitor, index + 1 == len(monitors))
    return figure


def _numeric(value: str) -> bool:
    """Whether a value's text is a number: a line may cross what lies between two numbers."""
    try:
        return math.isfinite(float(value))
    except ValueError:
        return False


def _by_value(panel: Any, suite: Suite, family: Family, metric: Metric, named: bool) -> None:
    """One number by the values: mean ± std, seeds as dots, the default filled and its mean dotted.

    Numbers are along the bottom, evenly spaced, and joined by a line; names are one below the other.
    """
    color, means, names = colors(suite)[family.method], dict[int, float](), [point["label"] for point in family.points]
    places, numbers = (panel.yaxis, panel.xaxis) if named else (panel.xaxis, panel.yaxis)
    for at, point in enumerate(family.points):
        values = [metric.scale * v for v in measured(suite, family.group(point), metric) if not math.isnan(v)]
        if found := summarize(values):
            means[at], fill = found.mean, color if point["default"] else HALO
            (x, y), bar = ((found.mean, at), "xerr") if named else ((at, found.mean), "yerr")
            dots = (values, [at + 0.16] * len(values)) if named else ([at + 0.16] * len(values), values)
            look = {"color": color, "markersize": 6.5, "markerfacecolor": fill, "elinewidth": 1.4, "zorder": 4}
            panel.errorbar(x, y, fmt="o", **{bar: found.std or 0.0}, **look)
            panel.scatter(*dots, s=9, color=color, alpha=0.6, linewidth=0)
            if named:
                words, above = f"{found.mean:.{metric.digits}f}", {"xytext": (0, 5), "textcoords": "offset points"}
                panel.annotate(words, (x, y), **above, ha="center", fontsize=7.5, color=INK)
            if point["default"]:
                dotted = panel.axvline if named else panel.axhline
                dotted(found.mean, color=color, linewidth=1.0, linestyle=":", zorder=0.9)
    if not named:
        panel.plot(list(means), list(means.values()), color=color, linewidth=1.6, zorder=2)
    if not means:
        panel.text(0.5, 0.5, "no number", transform=panel.transAxes, ha="center", va="center", color=MUTED, fontsize=9)
    panel.set_title(metric.title, fontsize=9, fontweight="normal", color=MUTED)
    panel.tick_params(labelsize=8)
    panel.locator_params(axis="x" if named else "y", nbins=5)
    places.set_ticks(range(len(names)), names, fontsize=8.5)
    for tick, point in zip(places.get_ticklabels(), family.points, strict=True):
        tick.set(color=INK, fontweight="bold" if point["default"] else "normal")
    places.grid(visible=False)
    panel.spines["bottom"].set_visible(not named)
    ends = (len(names) - 0.5, -0.5) if named else (-0.5, len(names) - 0.5)
    (panel.set_ylim if named else panel.set_xlim)(*ends)
    if metric.evaluation == "training" and means:
        (panel.set_xlim if named else panel.set_ylim)(0, 1.1 * max(numbers.get_data_interval()[1], 1.0))


def _over_training(panel: Any, suite: Suite, family: Family, monitor: str, legend: bool) -> None:
    """A monitor by step, mean over seeds of its running mean, a line per value, on a logarithmic scale."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    least = math.inf
    for at, point in enumerate(family.points):
        series = [smooth(one) for one in ablations.logged(suite, family.group(point), monitor)]
        mean = mean_line(series) if series else pd.Series(dtype=float)
        least = min([least, *mean])
        look = {"linestyle": "-" if at < len(COLORS) else "--", "linewidth": 2.2 if point["default"] else 1.4}
        label = point["label"] + " (default)" * bool(point["default"])
        panel.plot(mean.index, mean, color=COLORS[at % len(COLORS)], label=label, **look)
    if 0 < least < math.inf:
        panel.set_yscale("log")
        panel.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=6))
        panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        panel.yaxis.set_minor_formatter(NullFormatter())
    panel.set_title(f"{monitor.replace('_', ' ')}, by step", fontsize=9, fontweight="normal", color=MUTED)
    panel.tick_params(labelsize=8, which="both")
    if legend:
        panel.legend(loc="center left", bbox_to_anchor=(1.06, 0.5), fontsize=8.5)


def sensitivity(suite: Suite) -> Any:
    """The range of the linear probe over the values of each axis, the widest first, about the default ± std.

    The number of values is beside each range: of equal effects the axis with more values has the wider one.
    """
    blocks: dict[tuple[str, str], list[tuple[str, Points]]] = {}
    for axis in suite.axes:
        for family in ablations.families(suite, axis):
            if len(found := accuracies(suite, family)) > 1:
                ordered = sorted(found, key=lambda entry: entry[1].mean)
                blocks.setdefault((family.title(suite), family.method), []).append((str(axis["title"]), ordered))
    if not blocks:
        return empty("No axis with two finished values yet: nothing to compare.")
    label = 0.3 + 0.075 * max(len(title) for rows in blocks.values() for title, _ in rows)
    head, foot, width = 0.55, 0.62, label + WIDE_IN + 3.2
    height = top = sum(len(rows) * ROW_IN + head + foot for rows in blocks.values())
    figure = canvas((width, height))
    for (words, method), rows in blocks.items():
        figure.text(label / width, (top - 0.25) / height, words, fontweight="bold", fontsize=10.5)
        tall = len(rows) * ROW_IN
        panel = place(figure, (label, top - head - tall, WIDE_IN, tall))
        _ranges(panel, sorted(rows, key=lambda row: -_spread(row[1])), colors(suite)[method], suite.metric("linear"))
        top -= head + foot + tall
    return figure


def _spread(points: Points) -> float:
    return points[-1][1].mean - points[0][1].mean


def _ranges(panel: Any, rows: Sequence[tuple[str, Points]], color: str, linear: Metric) -> None:
    """A bar per axis from its lowest to its highest mean, the values as dots, the ends named at the right."""
    for at, (_, points) in enumerate(rows):
        means = [statistic.mean * linear.scale for _, statistic in points]
        panel.hlines(at, means[0], means[-1], color=color, alpha=0.3, linewidth=7, zorder=2)
        for (point, _), mean in zip(points, means, strict=True):
            face = color if point["default"] else HALO
            panel.plot(mean, at, "o", markersize=6, markerfacecolor=face, markeredgecolor=color, zorder=4)
        words = f"{shown(_spread(points), linear)} points, {len(points)} values: "
        words += f"{points[0][0]['label']} … {points[-1][0]['label']}"
        right = {"xycoords": ("axes fraction", "data"), "xytext": (8, 0), "textcoords": "offset points", "va": "center"}
        panel.annotate(words, (1.0, at), **right, fontsize=8.5, color=MUTED, annotation_clip=False)
    if default := next((found for _, points in rows for point, found in points if point["default"]), None):
        mean, half = default.mean * linear.scale, (default.std or 0.0) * linear.scale
        panel.axvline(mean, color=INK, linewidth=1.0, linestyle=":", zorder=1)
        panel.axvspan(mean - half, mean + half, color=GRID, alpha=0.6, linewidth=0, zorder=0.5)
    panel.set_yticks(range(len(rows)), [title for title, _ in rows])
    panel.set_ylim(len(rows) - 0.45, -0.55)
    panel.tick_params(axis="y", colors=INK)
    panel.grid(axis="y", visible=False)
    panel.set_xlabel(f"{linear.title}; dotted: default, band: ± its deviation over seeds")
