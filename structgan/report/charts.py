"""The two charts of numbers: accuracy by augmentation regime, and bars of the ablation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from structgan.report import layouts
from structgan.report.cells import Column, Row
from structgan.report.markup import shown
from structgan.report.records import Suite
from structgan.report.style import GRID, HALO, INK, MUTED, colours, empty, markers

BAR_IN = 0.34


def augmentation(suite: Suite) -> Any:
    """Linear top-1 against the regime, in order of strength: a line per method, its seeds as points, ± std as a band.

    The main variant stands for its method. A reference that is run under one regime only is a horizontal line.
    """
    import matplotlib.pyplot as plt
    import seaborn as sns

    frame = suite.frame
    mains = frame["method"].map({key: suite.main_variant(key) for key in frame["method"].unique()})
    frame = frame[(frame["variant"] == mains) & frame["linear"].notna()]
    if frame.empty:
        return empty("No finished run yet: nothing to draw.")
    regimes = [key for key in suite.plan["augmentations"] if any(group.augmentation == key for group in suite.groups)]
    frame = frame.assign(x=frame["augmentation"].map(regimes.index), y=100 * frame["linear"])
    datasets = [key for key in suite.plan["datasets"] if (frame["dataset"] == key).any()]
    columns = min(len(datasets), 3)
    lines = -(-len(datasets) // columns)
    size = (8.6, 4.9) if len(datasets) == 1 else (4.6 * columns, 3.9 * lines)
    figure, grid = plt.subplots(lines, columns, figsize=size, squeeze=False, layout="constrained")
    palette, shapes = colours(suite), markers(suite)
    for axes in grid.flat[len(datasets) :]:
        axes.set_visible(False)
    for axes, dataset in zip(grid.flat, datasets, strict=False):
        part, ends = frame[frame["dataset"] == dataset], []
        for method in [key for key in suite.plan["methods"] if (part["method"] == key).any()]:
            rows = part[part["method"] == method]
            reference = suite.method(method).get("kind") == "reference"
            words = suite.title("method", method) + (
                " (uses labels)" if suite.method(method).get("uses_labels") else ""
            )
            style = {"color": palette[method], "ax": axes, "zorder": 2 if reference else 3, "legend": False}
            if rows["x"].nunique() == 1 and reference:
                axes.axhline(rows["y"].mean(), color=palette[method], linewidth=1.4, linestyle=(0, (5, 3)), zorder=2)
                ends.append((float(rows["y"].mean()), words, palette[method]))
                continue
            sns.lineplot(
                rows, x="x", y="y", errorbar="sd", marker=shapes[method], markersize=7, markeredgecolor=HALO,
                linewidth=1.4 if reference else 2.4, linestyle=(0, (5, 3)) if reference else "-",
                err_kws={"alpha": 0.16, "linewidth": 0}, **style,
            )  # fmt: skip
            sns.scatterplot(rows, x="x", y="y", s=13, alpha=0.75, linewidth=0, **style)
            last = rows[rows["x"] == rows["x"].max()]
            ends.append((float(last["y"].mean()), words, palette[method]))
        chance = suite.chance(dataset)
        if chance is not None:
            axes.axhline(100 * chance, color=MUTED, linewidth=1.0, linestyle=":", zorder=1)
            ends.append((100 * chance, "chance", MUTED))
        axes.set_xticks(range(len(regimes)), [suite.title("augmentation", key) for key in regimes])
        if len(datasets) > 1:
            axes.tick_params(axis="x", rotation=18)
        axes.set_xlim(-0.25, len(regimes) - 0.75)
        top = max(float(part["y"].max()), 100 * (chance or 0))
        axes.set_ylim(0, min(100.0, top * 1.08 + 2))
        axes.grid(axis="x", visible=False)
        axes.set(xlabel="augmentation regime, weakest first", ylabel="linear probe, top-1 %")
        axes.set_title(suite.title("dataset", dataset))
        _label_ends(axes, ends, len(regimes) - 0.75, size[1] / lines)
    return figure


def _label_ends(axes: Any, ends: Sequence[tuple[float, str, str]], x: float, height_in: float) -> None:
    """Names at the right ends of the lines, pushed apart where they would overlap."""
    low, high = axes.get_ylim()
    gap = (high - low) * 0.2 / (height_in - 0.9)
    ordered = sorted(ends)
    placed = [value for value, _, _ in ordered]
    for _ in range(200):
        for index in range(1, len(placed)):
            over = gap - (placed[index] - placed[index - 1])
            if over > 0:
                placed[index - 1] -= over / 2
                placed[index] += over / 2
    for place, (_, words, colour) in zip(placed, ordered, strict=True):
        axes.annotate(
            words, (x, place), xytext=(6, 0), textcoords="offset points", va="center", color=colour,
            fontsize=9, fontweight="bold" if colour != MUTED else "normal", annotation_clip=False,
        )  # fmt: skip


def ablation(suite: Suite) -> Any:
    """Bars of every variant: linear probe, k-means and FID, ± std, with the full variant's mean as a line.

    Each method is shown under the weakest regime in which it has several variants; the table holds them all.
    """
    import matplotlib.pyplot as plt

    table = layouts.ablation(suite)
    regimes: dict[tuple[str, str], str] = {}
    blocks: dict[tuple[str, str], list[Row]] = {}
    for row in table.rows:
        key = (row.keys["dataset"], row.keys["method"])
        if regimes.setdefault(key, row.keys["augmentation"]) == row.keys["augmentation"]:
            blocks.setdefault(key, []).append(row)
    if not any(cell.statistic for rows in blocks.values() for row in rows for cell in row.cells.values()):
        return empty("No finished variant yet: nothing to draw.")
    label = 0.3 + 0.075 * max(len(row.words["variant"]) for row in table.rows)
    panel, gap, head, foot = 2.75, 0.32, 0.62, 0.42
    width = label + (panel + gap) * len(table.columns)
    height = sum(len(rows) * BAR_IN + head + foot for rows in blocks.values())
    figure, top, palette = plt.figure(figsize=(width, height)), height, colours(suite)
    for (_, method), rows in blocks.items():
        tall = len(rows) * BAR_IN
        words = f"{rows[0].words['dataset']}: {rows[0].words['method']}, augmentation: {rows[0].words['augmentation']}"
        figure.text(label / width, (top - 0.22) / height, words, fontweight="bold", fontsize=10.5)
        for index, column in enumerate(table.columns):
            left, base = label + (panel + gap) * index, top - head - tall
            axes = figure.add_axes((left / width, base / height, panel / width, tall / height))
            _bars(axes, rows, column, palette[method], suite.main_variant(method))
            axes.tick_params(axis="y", labelleft=index == 0)
        top -= tall + head + foot
    return figure


def _bars(axes: Any, rows: Sequence[Row], column: Column, colour: str, main: str) -> None:
    drawn = [(place, row, cell) for place, row in enumerate(rows) if (cell := row.cells[column.key]).statistic]
    means = [cell.statistic.mean * column.scale for _, _, cell in drawn if cell.statistic]
    errors = [(cell.statistic.std or 0.0) * column.scale for _, _, cell in drawn if cell.statistic]
    places = [place for place, _, _ in drawn]
    bars = axes.barh(places, means, height=0.62, color=colour, alpha=0.45)
    for (_, row, _), bar, mean in zip(drawn, bars, means, strict=True):
        if row.keys["variant"] == main:
            bar.set_alpha(1.0)
            axes.axvline(mean, color=colour, linewidth=1.0, linestyle=":", zorder=0.9)
    lines = [(place, mean, error) for place, mean, error in zip(places, means, errors, strict=True) if error]
    if lines:
        at, middle, half = zip(*lines, strict=True)
        left, right = (
            [m - h for m, h in zip(middle, half, strict=True)],
            [m + h for m, h in zip(middle, half, strict=True)],
        )
        axes.hlines(at, left, right, color=INK, linewidth=1.4, zorder=3)
    for place, mean, error in zip(places, means, errors, strict=True):
        axes.annotate(
            shown(mean / column.scale, column), (mean + error, place), xytext=(4, 0), textcoords="offset points",
            va="center", fontsize=8.5, color=INK,
        )  # fmt: skip
    for place, row in enumerate(rows):
        if place not in places:
            axes.text(0, place, f"  {row.cells[column.key].state}", va="center", color=MUTED, fontsize=8.5)
    axes.set_yticks(range(len(rows)), [row.words["variant"] for row in rows])
    axes.set_ylim(len(rows) - 0.45, -0.55)
    axes.margins(x=0.16)
    axes.set_xlim(left=0)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", colors=INK)
    axes.spines["bottom"].set_color(GRID)
    axes.set_title(column.title, loc="left", fontsize=9.5, fontweight="normal", color=MUTED)
