"""The figures of an ablation: a chart of each axis, and the axes side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from structgan.report import ablations
from structgan.report.ablations import Family, Point, accuracies, measured
from structgan.report.metrics import Metric, shown
from structgan.report.statistics import Statistic, summarise
from structgan.report.style import COLORS, GRID, HALO, INK, MUTED, canvas, colors, empty, place
from structgan.report.suite import Suite

PANEL_IN, GAP_IN, LEFT_IN, TALL_IN, HEAD_IN, FOOT_IN = 2.55, 0.62, 0.62, 1.55, 0.55, 0.4
ROW_IN, WIDE_IN, LETTER_IN = 0.46, 6.4, 0.066

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
        return empty("Nothing to draw: no two values are finished.")
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


def _by_value(panel: Any, suite: Suite, family: Family, metric: Metric, named: bool) -> None:
    """One number by the values, evenly spaced: mean ± std, seeds as dots, the default filled and its mean dotted.

    Numbers are along the bottom and joined by a line; names are one below the other.
    """
    color, means = colors(suite)[family.method], list[tuple[int, float]]()
    for at, point in enumerate(family.points):
        values = [metric.scale * v for v in measured(suite, family.group(point), metric) if not math.isnan(v)]
        found = summarise(values)
        if found is None:
            continue
        means.append((at, found.mean))
        half, fill = found.std or 0.0, color if point["default"] else HALO
        bar = panel.hlines if named else panel.vlines
        bar(at, found.mean - half, found.mean + half, color=color, linewidth=1.4, zorder=2.5)
        panel.scatter(*_turned([at + 0.16] * len(values), values, named), s=9, color=color, alpha=0.6, linewidth=0)
        panel.plot(
            *_turned([at], [found.mean], named), marker="o", markersize=6.5, markeredgewidth=1.6, zorder=4,
            markerfacecolor=fill, markeredgecolor=color,
        )  # fmt: skip
        if named:
            words, above = f"{found.mean:.{metric.digits}f}", {"xytext": (0, 5), "textcoords": "offset points"}
            panel.annotate(words, (found.mean, at), **above, ha="center", fontsize=7.5, color=INK)
        if point["default"]:
            dotted = panel.axvline if named else panel.axhline
            dotted(found.mean, color=color, linewidth=1.0, linestyle=":", zorder=0.9)
    if means and not named:
        panel.plot(*zip(*means, strict=True), color=color, linewidth=1.6, zorder=2)
    if not means:
        panel.text(0.5, 0.5, "no number", transform=panel.transAxes, ha="center", va="center", color=MUTED, fontsize=9)
    panel.set_title(metric.title, fontsize=9, fontweight="normal", color=MUTED)
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
    if metric.evaluation == "training" and means:
        (panel.set_xlim if named else panel.set_ylim)(0, 1.1 * max(numbers.get_data_interval()[1], 1.0))


def _turned(places: list[float], values: list[float], named: bool) -> tuple[list[float], list[float]]:
    return (values, places) if named else (places, values)


def _numeric(value: str) -> bool:
    """Whether a value's text is a number: a line may cross what lies between two numbers."""
    try:
        return math.isfinite(float(value))
    except ValueError:
        return False


def _over_training(panel: Any, suite: Suite, family: Family, monitor: str, legend: bool) -> None:
    """A monitor by step, mean over seeds of its running mean, a line per value, on a logarithmic scale."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    values: list[float] = []
    for at, point in enumerate(family.points):
        series = [ablations.smooth(line) for line in ablations.logged(suite, family.group(point), monitor)]
        steps, mean = ablations.mean_line(series)
        values += mean
        panel.plot(
            steps, mean, color=COLORS[at % len(COLORS)], linestyle="-" if at < len(COLORS) else "--",
            linewidth=2.2 if point["default"] else 1.4, label=point["label"] + " (default)" * bool(point["default"]),
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
    """The range of the linear probe over the values of each axis, the widest first, about the default ± std.

    The number of values is beside each range: of equal effects the axis with more values has the wider one.
    """
    linear, blocks = suite.metric("linear"), dict[tuple[str, str], list[tuple[str, Points]]]()
    for axis in suite.axes:
        for family in ablations.families(suite, axis):
            if len(found := accuracies(suite, family)) > 1:
                blocks.setdefault((family.title(suite), family.method), []).append((str(axis["title"]), found))
    if not blocks:
        return empty("No axis with two finished values yet: nothing to compare.")
    label = 0.3 + 0.075 * max(len(title) for rows in blocks.values() for title, _ in rows)
    head, foot, width = 0.55, 0.62, label + WIDE_IN + 1.6
    height = top = sum(len(rows) * ROW_IN + head + foot for rows in blocks.values())
    figure = canvas((width, height))
    for (words, method), rows in blocks.items():
        figure.text(label / width, (top - 0.25) / height, words, fontweight="bold", fontsize=10.5)
        tall = len(rows) * ROW_IN
        panel = place(figure, (label, top - head - tall, WIDE_IN, tall))
        _ranges(panel, sorted(rows, key=lambda row: -_spread(row[1])), colors(suite)[method], linear)
        top -= head + foot + tall
    return figure


def _spread(points: Points) -> float:
    means = [found.mean for _, found in points]
    return max(means) - min(means)


def _ranges(panel: Any, rows: Sequence[tuple[str, Points]], color: str, linear: Metric) -> None:
    """A bar per axis from its lowest to its highest mean, the values as dots, the ends named."""
    ends: list[tuple[float, float, float, float]] = []
    for at, (_, points) in enumerate(rows):
        ordered = [(point, found.mean * linear.scale) for point, found in sorted(points, key=lambda pair: pair[1].mean)]
        panel.hlines(at, ordered[0][1], ordered[-1][1], color=color, alpha=0.3, linewidth=7, zorder=2)
        for point, mean in ordered:
            face = color if point["default"] else HALO
            panel.plot(mean, at, marker="o", markersize=6, markerfacecolor=face, markeredgecolor=color, zorder=4)
        for (point, mean), side, aligned in ((ordered[0], -8, "right"), (ordered[-1], 8, "left")):
            panel.annotate(
                point["label"], (mean, at), xytext=(side, 0), textcoords="offset points", ha=aligned, va="center",
                fontsize=8, color=INK, fontweight="bold" if point["default"] else "normal", annotation_clip=False,
            )  # fmt: skip
        room = [0.2 + LETTER_IN * len(point["label"]) for point, _ in (ordered[0], ordered[-1])]
        ends.append((ordered[0][1], ordered[-1][1], *room))  # type: ignore[arg-type]
        words = f"{shown(_spread(points), linear)} points, {len(points)} values"
        panel.annotate(
            words, (1.0, at), xycoords=("axes fraction", "data"),
            xytext=(8, 0), textcoords="offset points", va="center", fontsize=8.5, color=MUTED, annotation_clip=False,
        )  # fmt: skip
    least, most = min(end[0] for end in ends), max(end[1] for end in ends)
    if default := next((found for _, points in rows for point, found in points if point["default"]), None):
        mean, half = default.mean * linear.scale, (default.std or 0.0) * linear.scale
        least, most = min(least, mean - half), max(most, mean + half)
        panel.axvline(mean, color=INK, linewidth=1.0, linestyle=":", zorder=1)
        panel.axvspan(mean - half, mean + half, color=GRID, alpha=0.6, linewidth=0, zorder=0.5)
    least, most = least - 0.5, most + 0.5
    for _ in range(30):  # the words at both ends must lie inside; each widening makes an inch mean more
        inch = (most - least) / WIDE_IN
        least = min([least, *(low - left * inch for low, _, left, _ in ends)])
        most = max([most, *(high + right * inch for _, high, _, right in ends)])
    panel.set_xlim(least, most)
    panel.set_yticks(range(len(rows)), [title for title, _ in rows])
    panel.set_ylim(len(rows) - 0.45, -0.55)
    panel.tick_params(axis="y", colors=INK)
    panel.grid(axis="y", visible=False)
    panel.set_xlabel(f"{linear.title}; dotted: default, band: ± its deviation over seeds")
