"""The figure that says which setting matters: the axes of an ablation side by side, by what they do to the probe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from structgan.report import axes
from structgan.report.axes import LINEAR, accuracies, place_of
from structgan.report.cells import Statistic
from structgan.report.markup import shown
from structgan.report.records import Suite
from structgan.report.style import GRID, HALO, INK, MUTED, colours, empty

ROW_IN, PANEL_IN, LETTER_IN = 0.46, 6.4, 0.066

Points = list[tuple[Mapping[str, Any], Statistic]]


def draw(suite: Suite) -> Any:
    """The range of the linear probe over the values of each axis, the widest first, about the default ± std.

    The number of values stands beside each range: of equal effects the axis with more values has the wider one.
    """
    import matplotlib.pyplot as plt

    blocks: dict[tuple[str, str, str], list[tuple[str, Points]]] = {}
    for axis in axes.axes(suite).values():
        for family in axes.families(suite, axis):
            if len(found := accuracies(suite, family)) > 1:
                key = (family.dataset, family.method, family.augmentation)
                blocks.setdefault(key, []).append((str(axis["title"]), found))
    if not blocks:
        return empty("No axis with two finished values yet: nothing to compare.")
    label = 0.3 + 0.075 * max(len(title) for rows in blocks.values() for title, _ in rows)
    head, foot, width = 0.55, 0.62, label + PANEL_IN + 1.6
    height = sum(len(rows) * ROW_IN + head + foot for rows in blocks.values())
    figure, top = plt.figure(figsize=(width, height)), height
    for (dataset, method, augmentation), rows in blocks.items():
        words = place_of(suite, dataset, method, augmentation)
        figure.text(label / width, (top - 0.25) / height, words, fontweight="bold", fontsize=10.5)
        tall = len(rows) * ROW_IN
        panel = figure.add_axes((label / width, (top - head - tall) / height, PANEL_IN / width, tall / height))
        ranges(panel, sorted(rows, key=lambda row: -spread(row[1])), colours(suite)[method])
        top -= head + foot + tall
    return figure


def spread(points: Points) -> float:
    """The largest mean of an axis less its smallest."""
    means = [found.mean for _, found in points]
    return max(means) - min(means)


def ranges(panel: Any, rows: Sequence[tuple[str, Points]], colour: str) -> None:
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
        told = f"{shown(spread(points), LINEAR)} points, {len(points)} values"
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
    panel.set_xlim(*limits(rows))
    panel.grid(axis="y", visible=False)
    panel.set_xlabel(f"{LINEAR.title}; dotted: default, band: ± its deviation over seeds")


def limits(rows: Sequence[tuple[str, Points]]) -> tuple[float, float]:
    """Lowest and highest accuracy of the panel, so that the words at both ends of each bar lie inside it."""
    ends = []
    for _, points in rows:
        low, high = (pick(points, key=lambda entry: entry[1].mean) for pick in (min, max))
        room = [0.2 + LETTER_IN * len(point["label"]) for point, _ in (low, high)]
        ends.append((low[1].mean * LINEAR.scale, high[1].mean * LINEAR.scale, *room))
    band = [
        found.mean * LINEAR.scale + side * (found.std or 0.0) * LINEAR.scale
        for _, points in rows
        for point, found in points
        if point["default"]
        for side in (-1, 1)
    ]
    least, most = min(band + [end[0] for end in ends]), max(band + [end[1] for end in ends])
    least, most = least - 0.5, most + 0.5
    for _ in range(30):  # each widening makes an inch stand for more
        inch = (most - least) / PANEL_IN
        least = min([least, *(low - left * inch for low, _, left, _ in ends)])
        most = max([most, *(high + right * inch for _, high, _, right in ends)])
    return least, most
