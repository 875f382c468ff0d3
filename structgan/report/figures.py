"""The figures of a suite. To add one, add an entry to ``FIGURES``."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import seaborn as sns

from structgan.report import ablation_charts, ablations, grids, results, style, writers
from structgan.report.cells import captions
from structgan.report.results import Group, Suite
from structgan.report.style import HALO, MARKERS, MUTED, colors, empty, panels

DASHED = (5, 3)


class Figure(NamedTuple):
    """A figure: the stem of its files, its title on the page, what draws it, its caption."""

    name: str
    title: str
    draw: Callable[[Suite], Any]
    caption: str = ""

    @property
    def words(self) -> str:
        """Its caption."""
        return captions("figures")[self.caption or self.name]


def augmentation(suite: Suite) -> Any:
    """Linear top-1 by augmentation, weakest first: a line per method, its seeds as points, ± std as a band.

    A method is shown with its main variant. A reference that is run under one augmentation only is a horizontal line.
    """
    frame = suite.frame[(suite.frame["metric"] == "linear") & suite.frame["value"].notna()]
    frame = frame[frame["variant"] == frame["method"].map(suite.main_variants)].assign(y=100 * frame["value"])
    if frame.empty:
        return empty("No finished run yet: nothing to draw.")
    regimes = suite.regimes()
    references = [key for key in suite.plan["methods"] if suite.method(key).get("kind") == "reference"]
    alone = frame.groupby(["dataset", "method"])["augmentation"].transform("nunique") == 1
    level = alone & frame["method"].isin(references)
    frame = pd.concat(
        [frame[~level], *(frame[level].assign(augmentation=regime) for regime in regimes)], ignore_index=True
    )
    frame["x"] = frame["augmentation"].map(regimes.index)
    methods = [key for key in suite.plan["methods"] if (frame["method"] == key).any()]
    datasets = [key for key in suite.plan["datasets"] if (frame["dataset"] == key).any()]
    look = {"x": "x", "y": "y", "hue": "method", "hue_order": methods, "palette": colors(suite)}
    styles = {
        "style": "method", "style_order": methods, "markeredgecolor": HALO, "markersize": 7,
        "markers": {key: MARKERS[at % len(MARKERS)] for at, key in enumerate(methods)},
        "dashes": {key: DASHED if key in references else "" for key in methods},
    }  # fmt: skip
    figure, grid = panels(len(datasets), 3, 6.4, 4.6)
    for axes, dataset in zip(grid, datasets, strict=True):
        part = frame[frame["dataset"] == dataset]
        sns.lineplot(part, **look, **styles, errorbar="sd", err_kws={"alpha": 0.16, "linewidth": 0}, ax=axes)
        marks = axes.get_legend_handles_labels()
        sns.scatterplot(part, **look, legend=False, s=16, linewidth=0, ax=axes)
        axes.get_legend().remove()
        if chance := suite.chance(dataset):
            axes.axhline(100 * chance, color=MUTED, linewidth=1.0, linestyle=":")
            axes.annotate("chance", (0, 100 * chance), (0, 3), textcoords="offset points", color=MUTED)
        axes.set_xticks(range(len(regimes)), [suite.title("augmentation", key) for key in regimes])
        axes.set(xlim=(-0.25, len(regimes) - 0.75), ylim=(0, None), title=suite.title("dataset", dataset))
        axes.set(xlabel="augmentation, weakest first", ylabel="linear probe, top-1 %")
        axes.grid(axis="x", visible=False)
    words = [suite.words(Group("", key, "", ""))["method"] for key in marks[1]]
    figure.legend(marks[0], words, loc="outside right upper")
    return figure


FIGURES = (
    Figure("augmentation", "Accuracy by augmentation", augmentation),
    Figure("ablation", "Ablation", lambda suite: ablation_charts.axis(suite, ablations.variants(suite))),
    Figure("training", "Training", grids.training),
    Figure("samples", "Generated images", grids.samples),
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
            paths += style.save(figure.draw(suite), Path(out_dir), figure.name)
    return [*paths, writers.seal(suite, Path(out_dir), paths)]
