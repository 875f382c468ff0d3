"""The two charts of numbers: accuracy by augmentation regime, and bars of the ablation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from structgan.report import layouts
from structgan.report.cells import Cell, Column, Row
from structgan.report.records import Suite
from structgan.report.style import GRID, HALO, INK, MUTED, colours, empty, markers


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
    placed: list[float] = []
    ordered = sorted(ends)
    for value, _, _ in ordered:
        placed.append(max(value, placed[-1] + gap) if placed else value)
    for index in range(len(placed) - 2, -1, -1):
        over = placed[-1] - high
        if over > 0:
            placed[-1] = high
        placed[index] = min(placed[index], placed[index + 1] - gap)
    for place, (_, words, colour) in zip(placed, ordered, strict=True):
        axes.annotate(
            words, (x, place), xytext=(6, 0), textcoords="offset points", va="center", color=colour,
            fontsize=9, fontweight="bold" if colour != MUTED else "normal", annotation_clip=False,
        )  # fmt: skip


def ablation(suite: Suite) -> Any:
    """Bars of every variant: linear probe, k-means and FID, ± std, with the full variant's mean as a line."""
    import matplotlib.pyplot as plt
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    table = layouts.ablation(suite)
    blocks: dict[tuple[str, ...], list[Row]] = {}
    for row in table.rows:
        blocks.setdefault((row.keys["dataset"], row.keys["method"], row.keys["augmentation"]), []).append(row)
    if not any(cell.statistic for row in table.rows for cell in row.cells.values()):
        return empty("No finished variant yet: nothing to draw.")
    heights = [len(rows) * 0.34 + 1.3 for rows in blocks.values()]
    figure, grid = plt.subplots(
        len(blocks), len(table.columns), figsize=(10.4, sum(heights)), squeeze=False, sharey="row",
        height_ratios=heights, layout=ConstrainedLayoutEngine(h_pad=0.22),
    )  # fmt: skip
    palette = colours(suite)
    for line, (key, rows) in zip(grid, blocks.items(), strict=True):
        for axes, column in zip(line, table.columns, strict=True):
            _bars(axes, rows, column, palette[key[1]], suite.main_variant(key[1]))
        words = rows[0].words
        where = f"{words['method']}, augmentation: {words['augmentation']}"
        line[0].annotate(
            f"{words['dataset']}: {where}", (0, 1), xytext=(0, 23), xycoords="axes fraction",
            textcoords="offset points", fontweight="bold", fontsize=10.5, annotation_clip=False,
        ).set_in_layout(False)  # fmt: skip
    return figure


def _bars(axes: Any, rows: Sequence[Row], column: Column, colour: str, main: str) -> None:
    for place, row in enumerate(rows):
        cell: Cell = row.cells[column.key]
        if cell.statistic is None:
            word = "no sample" if cell.state == "no sample" else cell.state
            axes.text(0, place, f"  {word}", va="center", color=MUTED, fontsize=8.5)
            continue
        mean, full = cell.statistic.mean * column.scale, row.keys["variant"] == main
        axes.barh(place, mean, height=0.62, color=colour, alpha=1.0 if full else 0.45)
        error = (cell.statistic.std or 0.0) * column.scale
        if error:
            axes.plot([mean - error, mean + error], [place, place], color=INK, linewidth=1.4, solid_capstyle="butt")
        if full:
            axes.axvline(mean, color=colour, linewidth=1.0, linestyle=":", zorder=0.9)
        axes.annotate(
            f"{mean:.{column.digits}f}", (mean + error, place), xytext=(4, 0), textcoords="offset points",
            va="center", fontsize=8.5, color=INK,
        )  # fmt: skip
    axes.set_yticks(range(len(rows)), [row.words["variant"] for row in rows])
    axes.set_ylim(len(rows) - 0.45, -0.55)
    axes.margins(x=0.16)
    axes.set_xlim(left=0)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", colors=INK)
    axes.spines["bottom"].set_color(GRID)
    axes.set_title(column.title, loc="left", fontsize=9.5, fontweight="normal", color=MUTED)
