"""The figures of a suite. To add one, add an entry to ``FIGURES``."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import seaborn as sns

from structgan.report import ablation_charts, ablations, grids, results, style, writers
from structgan.report.cells import captions
from structgan.report.results import Group, Suite
from structgan.report.style import HALO, MARKERS, MUTED, colors, empty

DASHED = (0, (5, 3))


class Figure(NamedTuple):
    """A figure: the stem of its files, its title on the page, what draws it, its caption, its dots an inch."""

    name: str
    title: str
    draw: Callable[[Suite], Any]
    caption: str = ""
    dpi: int = 144

    @property
    def words(self) -> str:
        """Its caption."""
        return captions("figures")[self.caption or self.name]


def augmentation(suite: Suite) -> Any:
    """Linear top-1 by augmentation, weakest first: a line per method, its seeds as points, ± std as a band.

    A method is shown with its main variant. A reference that is run under one augmentation only is a horizontal line.
    """
    regimes, palette = suite.regimes(), colors(suite)
    frame = suite.frame[(suite.frame["metric"] == "linear") & suite.frame["value"].notna()]
    frame = frame[frame["variant"] == frame["method"].map(suite.main_variants)]
    if frame.empty:
        return empty("No finished run yet: nothing to draw.")
    frame = frame.assign(x=frame["augmentation"].map(regimes.index), y=100 * frame["value"])
    datasets = [key for key in suite.plan["datasets"] if (frame["dataset"] == key).any()]
    columns = min(len(datasets), 3)
    lines = -(-len(datasets) // columns)
    width, height = (8.6, 4.9) if len(datasets) == 1 else (4.6 * columns, 3.9 * lines)
    figure, grid = plt.subplots(lines, columns, figsize=(width, height), squeeze=False, layout="constrained")
    for axes in grid.flat[len(datasets) :]:
        axes.set_visible(False)
    for axes, dataset in zip(grid.flat, datasets, strict=False):
        part, ends = frame[frame["dataset"] == dataset], []
        for at, method in enumerate(suite.plan["methods"]):
            rows, color = part[part["method"] == method], palette[method]
            if rows.empty:
                continue
            reference = suite.method(method).get("kind") == "reference"
            look = {"linewidth": 1.4 if reference else 2.4, "linestyle": DASHED if reference else "-", "zorder": 3}
            if reference and rows["x"].nunique() == 1:
                axes.axhline(rows["y"].mean(), color=color, **look)
            else:
                marks = {"marker": MARKERS[at % len(MARKERS)], "markersize": 7, "markeredgecolor": HALO}
                band = {"errorbar": "sd", "err_kws": {"alpha": 0.16, "linewidth": 0}}
                sns.lineplot(rows, x="x", y="y", color=color, ax=axes, **band, **marks, **look)
                sns.scatterplot(rows, x="x", y="y", s=13, alpha=0.75, linewidth=0, color=color, ax=axes)
            end = rows[rows["x"] == rows["x"].max()]["y"].mean()
            ends.append((float(end), suite.words(Group(dataset, method, "", ""))["method"], color))
        chance = 100 * (suite.chance(dataset) or 0.0)
        if chance:
            axes.axhline(chance, color=MUTED, linewidth=1.0, linestyle=":", zorder=1)
            ends.append((chance, "chance", MUTED))
        axes.set_xticks(range(len(regimes)), [suite.title("augmentation", key) for key in regimes])
        axes.tick_params(axis="x", rotation=18 if len(datasets) > 1 else 0)
        axes.grid(axis="x", visible=False)
        limits = {
            "xlim": (-0.25, len(regimes) - 0.75),
            "ylim": (0, min(100.0, 1.08 * max(part["y"].max(), chance) + 2)),
        }
        axes.set(xlabel="augmentation, weakest first", ylabel="linear probe, top-1 %", **limits)
        axes.set_title(suite.title("dataset", dataset))
        _label_ends(axes, sorted(ends), height / lines)
    return figure


def _label_ends(axes: Any, ends: list[tuple[float, str, str]], height: float) -> None:
    """Names at the right ends of the lines, pushed apart where they would overlap; ``height`` is in inches."""
    placed, gap = [value for value, _, _ in ends], axes.get_ylim()[1] * 0.2 / (height - 0.9)
    for _ in range(200):
        for index in range(1, len(placed)):
            over = max(0.0, gap - (placed[index] - placed[index - 1]))
            placed[index - 1] -= over / 2
            placed[index] += over / 2
    look = {"xytext": (6, 0), "textcoords": "offset points", "va": "center", "fontsize": 9, "annotation_clip": False}
    for y, (_, words, color) in zip(placed, ends, strict=True):
        weight = "normal" if color == MUTED else "bold"
        axes.annotate(words, (axes.get_xlim()[1], y), color=color, fontweight=weight, **look)


FIGURES = (
    Figure("augmentation", "Accuracy by augmentation", augmentation),
    Figure("ablation", "Ablation", lambda suite: ablation_charts.axis(suite, ablations.variants(suite))),
    Figure("training", "Training", grids.training),
    Figure("samples", "Generated images", grids.samples, dpi=100),  # a sample's pixel is a whole number of the figure's
    Figure("features", "Map of the features", grids.features),
)


def of(suite: Suite) -> tuple[Figure, ...]:
    """Every figure of a suite: ``FIGURES``, one per axis of an ablation, and the axes side by side."""
    axes = [
        Figure(axis["file"], str(axis["title"]), functools.partial(ablation_charts.axis, axis=axis), "axis")
        for axis in suite.axes
    ]
    return (*FIGURES, *axes, *([Figure("sensitivity", "Sensitivity", ablation_charts.sensitivity)] if axes else []))


def write(plan: str | Path | Suite, out_dir: str | Path) -> list[Path]:
    """Write every figure as svg and png, and return the files; ``plan`` is a suite, its plan's file, or its name.

    A figure without data says so: a suite's set of files never changes. The same runs and the same version of
    Matplotlib give the same bytes.

    Raises:
        UserError: two protocols would meet in a figure.
    """
    suite, paths = results.read(plan), list[Path]()
    writers.clear(Path(out_dir))
    with style.drawing():
        for figure in of(suite):
            paths += style.save(figure.draw(suite), Path(out_dir), figure.name, figure.dpi)
    return [*paths, writers.seal(suite, Path(out_dir), paths)]
