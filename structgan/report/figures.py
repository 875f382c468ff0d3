"""The figures of a suite. To add one, add an entry to ``FIGURES``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from structgan.report import ablation_charts, ablations, charts, grids, results, style
from structgan.report.cells import captions
from structgan.report.results import Suite


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


FIGURES = (
    Figure("augmentation", "Accuracy by augmentation", charts.augmentation),
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


def write(plan: str | Path, out_dir: str | Path) -> list[Path]:
    """Write every figure as svg and png. One without data says so, so that a suite's set of files never changes.

    Args:
        plan: the plan's file, or the suite's name.
        out_dir: results/figures/<suite>.

    Returns:
        The files: an svg and a png of each figure, and made_from.json. The same runs and the same version of Matplotlib
        give the same bytes.

    Raises:
        UserError: two protocols would meet in a figure, or a file is damaged.
    """
    suite, paths = results.read(plan), list[Path]()
    suite.clear(Path(out_dir))
    with style.drawing():
        for figure in of(suite):
            paths += style.save(figure.draw(suite), Path(out_dir), figure.name, figure.dpi)
    return [*paths, suite.seal(Path(out_dir), paths)]
