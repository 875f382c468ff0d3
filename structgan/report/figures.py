"""The figures of a suite. To add one, add an entry to ``FIGURES``."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import seaborn as sns

from structgan.report import ablation_charts, ablations, curve_charts, grids, results, style, writers
from structgan.report.cells import captions
from structgan.report.results import Group, Suite
from structgan.report.style import FEW, HALO, MARKERS, MUTED, colors, empty, label_ends, panels

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
    """Linear top-1 by augmentation: a line per method, its seeds as points, ± std as a band.

    A method is shown with its main variant. A reference that is run under one augmentation only is a horizontal line.
    More methods than ``FEW`` have a row each in place of lines.
    """
    frame = suite.frame[(suite.frame["metric"] == "linear") & suite.frame["value"].notna()]
    frame = frame[frame["variant"] == frame["method"].map(suite.main_variants)].assign(y=100 * frame["value"])
    if frame.empty:
        return empty("No finished run yet: nothing to draw.")
    regimes = suite.regimes()
    methods = [key for key in suite.plan["methods"] if (frame["method"] == key).any()]
    datasets = [key for key in suite.plan["datasets"] if (frame["dataset"] == key).any()]
    if len(methods) > FEW:
        return _dots(suite, frame, methods, datasets)
    references = [key for key in suite.plan["methods"] if suite.method(key).get("kind") == "reference"]
    alone = frame.groupby(["dataset", "method"])["augmentation"].transform("nunique") == 1
    level = alone & frame["method"].isin(references)
    frame = pd.concat(
        [frame[~level], *(frame[level].assign(augmentation=regime) for regime in regimes)], ignore_index=True
    )
    frame["x"] = frame["augmentation"].map(regimes.index)
    look = {"x": "x", "y": "y", "hue": "method", "hue_order": methods, "palette": colors(suite)}
    styles = {
        "style": "method", "style_order": methods, "markeredgecolor": HALO, "markersize": 7,
        "markers": {key: MARKERS[at % len(MARKERS)] for at, key in enumerate(methods)},
        "dashes": {key: DASHED if key in references else "" for key in methods},
    }  # fmt: skip
    words = {key: suite.words(Group("", key, "", ""))["method"] for key in methods}
    figure, grid = panels(len(datasets), 2, 5.2, 3.7)
    for axes, dataset in zip(grid, datasets, strict=True):
        part = frame[frame["dataset"] == dataset]
        sns.lineplot(part, **look, **styles, errorbar="sd", err_kws={"alpha": 0.16, "linewidth": 0}, ax=axes)
        sns.scatterplot(part, **look, legend=False, s=16, linewidth=0, ax=axes)
        axes.get_legend().remove()
        axes.set_xticks(range(len(regimes)), [suite.title("augmentation", key) for key in regimes])
        axes.set(xlim=(-0.25, len(regimes) - 0.75), ylim=(0, None), title=suite.title("dataset", dataset))
        axes.set(xlabel="augmentation", ylabel="linear probe, top-1 %")
        axes.grid(axis="x", visible=False)
        means = part.groupby(["method", "x"])["y"].mean().reset_index().groupby("method").last()
        ends = [(x, y, words[key], colors(suite)[key]) for key, x, y in means.itertuples()]
        if chance := suite.chance(dataset):
            axes.axhline(100 * chance, color=MUTED, linewidth=1.0, linestyle=":")
            ends.append((len(regimes) - 0.75, 100 * chance, "chance", MUTED))
        label_ends(axes, ends)
    return figure


def _dots(suite: Suite, frame: pd.DataFrame, methods: list[str], datasets: list[str]) -> Any:
    """A row per method, the best on top, with a mark per augmentation: mean ± std over seeds."""
    regimes, palette = suite.regimes(), colors(suite)
    figure, grid = panels(len(datasets), 2, 5.2, 0.27 * len(methods) + 1.2)
    for axes, dataset in zip(grid, datasets, strict=True):
        seeds = frame[frame["dataset"] == dataset].groupby(["method", "augmentation"])["y"]
        means = pd.DataFrame({"mean": seeds.mean(), "std": seeds.std()})
        order = list(means["mean"].groupby("method").max().sort_values().index)
        for method, regime, mean, std in means.reset_index().itertuples(index=False):
            look = {"marker": MARKERS[regimes.index(regime) % len(MARKERS)], "markeredgecolor": HALO, "markersize": 7.5}
            axes.errorbar(mean, order.index(method), xerr=std, color=palette[method], elinewidth=1.2, **look)
        for place, method in enumerate(order):
            axes.plot(means.loc[method, "mean"], [place] * len(means.loc[method]), color=palette[method], alpha=0.4)
        if chance := suite.chance(dataset):
            axes.axvline(100 * chance, color=MUTED, linewidth=1.0, linestyle=":")
        axes.set_yticks(range(len(order)), [suite.words(Group("", key, "", ""))["method"] for key in order])
        axes.set(xlim=(0, None), title=suite.title("dataset", dataset), xlabel="linear probe, top-1 %")
    marks = [grid[0].plot([], [], MARKERS[at % len(MARKERS)], color=MUTED)[0] for at in range(len(regimes))]
    words = [suite.title("augmentation", key) for key in regimes]
    figure.legend(marks, words, loc="outside lower left", ncols=len(regimes), title="augmentation", alignment="left")
    return figure


CURVES = tuple(
    Figure(f"curves_{cost}", f"Accuracy by {words}", functools.partial(curve_charts.learning, cost=cost), "curves")
    for cost, words in curve_charts.COSTS.items()
)
FIGURES = (
    *CURVES,
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
