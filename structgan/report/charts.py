"""The chart of accuracy by augmentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from structgan.report.style import HALO, MUTED, colors, empty, markers
from structgan.report.suite import Group, Suite

DASHED = (0, (5, 3))


def augmentation(suite: Suite) -> Any:
    """Linear top-1 by augmentation, weakest first: a line per method, its seeds as points, ± std as a band.

    A method is shown with its main variant. A reference that is run under one augmentation only is a horizontal line.
    """
    import matplotlib.pyplot as plt
    import seaborn as sns

    frame = suite.frame[(suite.frame["metric"] == "linear") & suite.frame["value"].notna()]
    frame = frame[frame["variant"] == frame["method"].map(suite.main_variants)]
    if frame.empty:
        return empty("No finished run yet: nothing to draw.")
    regimes = suite.regimes()
    frame = frame.assign(x=frame["augmentation"].map(regimes.index), y=100 * frame["value"])
    datasets = [key for key in suite.plan["datasets"] if (frame["dataset"] == key).any()]
    columns = min(len(datasets), 3)
    lines = -(-len(datasets) // columns)
    size = (8.6, 4.9) if len(datasets) == 1 else (4.6 * columns, 3.9 * lines)
    figure, grid = plt.subplots(lines, columns, figsize=size, squeeze=False, layout="constrained")
    palette, shapes = colors(suite), markers(suite)
    for axes in grid.flat[len(datasets) :]:
        axes.set_visible(False)
    for axes, dataset in zip(grid.flat, datasets, strict=False):
        part, ends = frame[frame["dataset"] == dataset], []
        for method in [key for key in suite.plan["methods"] if (part["method"] == key).any()]:
            rows = part[part["method"] == method]
            reference = suite.method(method).get("kind") == "reference"
            words = suite.words(Group(dataset, method, "", ""))["method"]
            style = {"color": palette[method], "ax": axes, "zorder": 2 if reference else 3, "legend": False}
            if rows["x"].nunique() == 1 and reference:
                axes.axhline(rows["y"].mean(), color=palette[method], linewidth=1.4, linestyle=DASHED, zorder=2)
                ends.append((float(rows["y"].mean()), words, palette[method]))
                continue
            sns.lineplot(
                rows, x="x", y="y", errorbar="sd", marker=shapes[method], markersize=7, markeredgecolor=HALO,
                linewidth=1.4 if reference else 2.4, linestyle=DASHED if reference else "-",
                err_kws={"alpha": 0.16, "linewidth": 0}, **style,
            )  # fmt: skip
            sns.scatterplot(rows, x="x", y="y", s=13, alpha=0.75, linewidth=0, **style)
            ends.append((float(rows[rows["x"] == rows["x"].max()]["y"].mean()), words, palette[method]))
        chance = suite.chance(dataset)
        if chance is not None:
            axes.axhline(100 * chance, color=MUTED, linewidth=1.0, linestyle=":", zorder=1)
            ends.append((100 * chance, "chance", MUTED))
        axes.set_xticks(range(len(regimes)), [suite.title("augmentation", key) for key in regimes])
        axes.tick_params(axis="x", rotation=18 if len(datasets) > 1 else 0)
        axes.set_xlim(-0.25, len(regimes) - 0.75)
        axes.set_ylim(0, min(100.0, max(float(part["y"].max()), 100 * (chance or 0)) * 1.08 + 2))
        axes.grid(axis="x", visible=False)
        axes.set(xlabel="augmentation, weakest first", ylabel="linear probe, top-1 %")
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
            over = max(0.0, gap - (placed[index] - placed[index - 1]))
            placed[index - 1] -= over / 2
            placed[index] += over / 2
    for y, (_, words, color) in zip(placed, ordered, strict=True):
        axes.annotate(
            words, (x, y), xytext=(6, 0), textcoords="offset points", va="center", color=color,
            fontsize=9, fontweight="bold" if color != MUTED else "normal", annotation_clip=False,
        )  # fmt: skip
