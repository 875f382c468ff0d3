"""The figures of a suite. To add one, add an entry to ``FIGURES``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from structgan.report import ablation_charts, ablations, charts, grids, results, style
from structgan.report.suite import Suite


class Figure(NamedTuple):
    """A figure: the stem of its files, its title and caption on the page, what draws it, and its dots an inch."""

    name: str
    title: str
    caption: str
    draw: Callable[[Suite], Any]
    dpi: int = 144


FIGURES = (
    Figure(
        "augmentation", "Accuracy by augmentation",
        "Linear probe on frozen features. Lines: mean over seeds; dots: seeds; band: ± one standard deviation. "
        "Dashed: references.",
        charts.augmentation,
    ),
    Figure(
        "ablation", "Ablation",
        "Every variant of a method, all else equal. Mean over seeds ± one standard deviation; small dots: seeds; "
        "filled and dotted: the full variant.",
        lambda suite: ablation_charts.axis(suite, ablations.variants(suite)),
    ),
    Figure(
        "training", "Training",
        "Losses and speed by optimizer step, running mean over a fifteenth of the run. Thin lines: seeds; thick: mean.",
        grids.training,
    ),
    Figure(  # at 100 dots an inch a sample's pixel is a whole number of the figure's
        "samples", "Generated images", "Uncurated samples of the first finished seed, enlarged without smoothing.",
        grids.samples, 100,
    ),
    Figure(
        "features", "Map of the features",
        "Test features in two dimensions, colored by class, first finished seed. The number is its linear top-1.",
        grids.features,
    ),
)  # fmt: skip


def of(suite: Suite) -> tuple[Figure, ...]:
    """Every figure of a suite: ``FIGURES``, one per axis of an ablation, and their comparison."""
    caption = (
        "Each value of one setting, all else equal. Mean over seeds ± one standard deviation, dots: seeds; "
        "the default is filled and its mean is dotted."
    )
    found = []
    for axis in suite.axes:
        more = " Below: what was logged during training, mean over seeds." if axis.get("monitors") else ""
        draw = functools.partial(ablation_charts.axis, axis=axis)
        found.append(Figure(axis["file"], str(axis["title"]), caption + more, draw))
    words = (
        "Which setting matters: for each axis the linear probe at its values, the widest range first. Dotted line: the "
        "default; band: ± its standard deviation over seeds. By chance alone, more values make a wider range."
    )
    last = [Figure("sensitivity", "Sensitivity", words, ablation_charts.sensitivity)] if found else []
    return (*FIGURES, *found, *last)


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
    with style.drawing():
        for figure in of(suite):
            paths += style.save(figure.draw(suite), Path(out_dir), figure.name, figure.dpi)
    return [*paths, suite.seal(Path(out_dir), paths)]
