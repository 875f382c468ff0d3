"""The figures of an ablation: a chart of each axis, and the axes side by side."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.ticker import LogLocator, NullFormatter

from structgan.report import ablations
from structgan.report.ablations import Family, Point
from structgan.report.metrics import Metric, shown
from structgan.report.results import Suite
from structgan.report.statistics import Statistic
from structgan.report.style import COLORS, GRID, HALO, INK, MUTED, blocks, colors, empty, mean_line, smooth


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
    metrics, monitors = list(ablations.columns(suite, axis).values())[:4], axis.get("monitors", ())
    titles, columns = [f"{axis['title']}: {family.title(suite)}" for family in found], max(len(metrics), len(monitors))
    figure, parts = blocks(titles, 3.1 * columns, [4.6 if monitors else 2.6] * len(found))
    for part, family in zip(parts, found, strict=True):
        grid = part.subplots(1 + bool(monitors), columns, squeeze=False)
        for panel in [*grid[0][len(metrics) :], *(grid[1][len(monitors) :] if monitors else ())]:
            panel.set_visible(False)
        for panel, metric in zip(grid[0], metrics, strict=False):
            _by_value(panel, suite, family, metric)
        for panel, monitor in zip(grid[-1], monitors, strict=False):
            _over_training(panel, suite, family, monitor)
        if monitors:
            legend = grid[1][len(monitors) - 1].legend(loc="center left", bbox_to_anchor=(1.06, 0.5), fontsize=8.5)
            legend.set_in_layout(len(monitors) == columns)
    return figure


def accuracies(suite: Suite, family: Family) -> list[tuple[Point, Statistic]]:
    """The points of a family that have a linear probe, and it."""
    pairs = [(point, suite.statistic(family.group(point), "linear")) for point in family.points]
    return [(point, found) for point, found in pairs if found]


def _by_value(panel: Any, suite: Suite, family: Family, metric: Metric) -> None:
    """One number by the values: mean ± std, seeds as dots, the default filled and its mean dotted.

    Where the values are numbers, a line joins them: it may cross what lies between two numbers.
    """
    color, labels = colors(suite)[family.method], [point["label"] for point in family.points]
    numeric = pd.to_numeric(pd.Series([point["value"] for point in family.points]), errors="coerce").notna().all()
    rows = [
        {"label": point["label"], "at": at, "y": metric.scale * value, "default": bool(point["default"])}
        for at, point in enumerate(family.points)
        for value in suite.values(family.group(point), metric).values()
    ]
    frame = pd.DataFrame(rows, columns=["label", "at", "y", "default"]).dropna()
    look = {"linestyle": "-" if numeric else "none", "linewidth": 1.6, "markersize": 6.5, "markerfacecolor": HALO}
    bars = {"errorbar": "sd", "err_kws": {"linewidth": 1.4, "zorder": 1}}
    sns.pointplot(frame, x="label", y="y", order=labels, color=color, ax=panel, **bars, **look)
    panel.scatter(frame["at"] + 0.16, frame["y"], s=9, color=color, alpha=0.6, linewidth=0)
    default = frame[frame["default"].astype(bool)]
    if len(default):
        panel.plot(default["at"].iloc[0], default["y"].mean(), "o", color=color, markersize=6.5, zorder=5)
        panel.axhline(default["y"].mean(), color=color, linewidth=1.0, linestyle=":", zorder=0.9)
    if frame.empty:
        panel.text(0.5, 0.5, "no number", transform=panel.transAxes, ha="center", va="center", color=MUTED, fontsize=9)
    elif metric.evaluation == "training":
        panel.set_ylim(0, 1.1 * max(frame["y"].max(), 1.0))
    panel.set(xlabel="", ylabel="")
    panel.set_title(metric.title, fontsize=9, fontweight="normal", color=MUTED)
    panel.tick_params(labelsize=8)
    panel.locator_params(axis="y", nbins=5)
    panel.grid(axis="x", visible=False)
    for tick, point in zip(panel.get_xticklabels(), family.points, strict=True):
        tick.set(color=INK, fontweight="bold" if point["default"] else "normal")
        tick.set(**({} if numeric else {"rotation": 30, "ha": "right", "rotation_mode": "anchor"}))


def _over_training(panel: Any, suite: Suite, family: Family, monitor: str) -> None:
    """A monitor by step, mean over seeds of its running mean, a line per value, on a logarithmic scale."""
    least = math.inf
    for at, point in enumerate(family.points):
        histories = suite.histories(family.group(point))
        series = [smooth(history[monitor].dropna()) for history in histories if monitor in history]
        mean = mean_line(series) if series else pd.Series(dtype=float)
        least = min([least, *mean])
        look = {"linestyle": "-" if at < len(COLORS) else "--", "linewidth": 2.2 if point["default"] else 1.4}
        label = point["label"] + " (default)" * bool(point["default"])
        panel.plot(mean.index, mean, color=COLORS[at % len(COLORS)], label=label, **look)
    if 0 < least < math.inf:
        panel.set_yscale("log")
        panel.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=6))
        panel.yaxis.set_major_formatter("{x:g}")
        panel.yaxis.set_minor_formatter(NullFormatter())
    panel.set_title(f"{monitor.replace('_', ' ')}, by step", fontsize=9, fontweight="normal", color=MUTED)
    panel.tick_params(labelsize=8, which="both")


def sensitivity(suite: Suite) -> Any:
    """The range of the linear probe over the values of each axis, the widest first, about the default ± std.

    The number of values is beside each range: of equal effects the axis with more values has the wider one.
    """
    found: dict[tuple[str, str], list[tuple[str, list[tuple[Point, Statistic]]]]] = {}
    for axis in suite.axes:
        for family in ablations.families(suite, axis):
            if len(points := accuracies(suite, family)) > 1:
                points.sort(key=lambda entry: entry[1].mean)
                found.setdefault((family.title(suite), family.method), []).append((str(axis["title"]), points))
    if not found:
        return empty("No axis with two finished values yet: nothing to compare.")
    titles, heights = [words for words, _ in found], [0.46 * len(rows) + 1.15 for rows in found.values()]
    figure, parts = blocks(titles, 11.5, heights)
    linear = suite.metric("linear")
    for part, ((_, method), rows) in zip(parts, found.items(), strict=True):
        panel, color = part.subplots(), colors(suite)[method]
        rows.sort(key=lambda row: row[1][0][1].mean - row[1][-1][1].mean)
        for at, (_, points) in enumerate(rows):
            means = [statistic.mean * linear.scale for _, statistic in points]
            panel.hlines(at, means[0], means[-1], color=color, alpha=0.3, linewidth=7, zorder=2)
            for (point, _), mean in zip(points, means, strict=True):
                panel.plot(mean, at, "o", color=color, markerfacecolor=color if point["default"] else HALO, zorder=4)
            spread = shown(points[-1][1].mean - points[0][1].mean, linear)
            words = f"{spread} points, {len(points)} values: {points[0][0]['label']} … {points[-1][0]['label']}"
            look = {"xycoords": ("axes fraction", "data"), "xytext": (8, 0), "textcoords": "offset points"}
            panel.annotate(words, (1.0, at), **look, va="center", fontsize=8.5, color=MUTED, annotation_clip=False)
        if default := next((one for _, points in rows for point, one in points if point["default"]), None):
            mean, half = default.mean * linear.scale, (default.std or 0.0) * linear.scale
            panel.axvline(mean, color=INK, linewidth=1.0, linestyle=":", zorder=1)
            panel.axvspan(mean - half, mean + half, color=GRID, alpha=0.6, linewidth=0, zorder=0.5)
        panel.set_yticks(range(len(rows)), [title for title, _ in rows])
        panel.set_ylim(len(rows) - 0.45, -0.55)
        panel.tick_params(axis="y", colors=INK)
        panel.grid(axis="y", visible=False)
        panel.set_xlabel(f"{linear.title}; dotted: default, band: ± its deviation over seeds")
    return figure
