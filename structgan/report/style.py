"""How figures look: a color per method that the color-blind can tell apart, files that regenerate byte for byte.

Every color of text, grid and method is a constant that the page replaces by a CSS variable, so that a drawing follows
the reader's light or dark scheme.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import isotonic_regression

from structgan.files import replacing
from structgan.report.results import Group, Suite

INK, MUTED, GRID, PAPER, HALO = "#23272f", "#5f6672", "#dde1e7", "#ffffff", "#fefefe"
# Okabe and Ito's palette (jfly.uni-koeln.de/color), reordered: the first color is the suite's own method.
COLORS = (
    "#d55e00", "#0072b2", "#009e73", "#aa4499", "#b8860b", "#3a9fd8", "#7a5230", "#e0559a",
    "#5b50c8", "#6b8e23", "#b22234", "#00838f", "#8c6bb1", "#14532d", "#c2410c", "#1e3a8a",
)  # fmt: skip
GRAYS = ("#7b828e", "#454c59", "#9aa1ac")
DARK = {
    INK: "#e7eaf0", MUTED: "#a2aab8", GRID: "#363c48", HALO: "#1b1f27",
    "#d55e00": "#ff8a3d", "#0072b2": "#5db4f0", "#009e73": "#3ccf9f", "#aa4499": "#dd84cf", "#b8860b": "#e6b94d",
    "#3a9fd8": "#8fd0f7", "#7a5230": "#c79a6f", "#e0559a": "#ff8fc0", "#7b828e": "#9aa3b2", "#454c59": "#d3d9e3",
    "#9aa1ac": "#727b89", "#5b50c8": "#a9a1ff", "#6b8e23": "#b5d96b", "#b22234": "#ff7a85", "#00838f": "#4fd3e0",
    "#8c6bb1": "#c8aee6", "#14532d": "#8fd6a8", "#c2410c": "#ffb38a", "#1e3a8a": "#8aa9ff",
}  # fmt: skip
"""What the page shows in place of each color in a dark color scheme."""
FEW = 6
"""Methods or values that share axes; more have a row each."""
SMALL = 8.5
"""Points of small text."""
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")


@contextmanager
def drawing() -> Iterator[None]:
    """Matplotlib on the Agg backend with the look of figures.mplstyle, for the time of the block."""
    matplotlib.use("Agg")
    with matplotlib.style.context(["default", Path(__file__).with_name("figures.mplstyle")]):
        yield


def save(figure: Any, out_dir: Path, name: str) -> list[Path]:
    """Write a figure as svg and png without dates and versions, close it, and return both paths."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # the layout is computed once, not for each file
    paths = [out_dir / f"{name}.svg", out_dir / f"{name}.png"]
    for path, metadata in zip(paths, ({"Date": None, "Creator": None}, {"Software": None}), strict=True):
        with replacing(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:], dpi=144, metadata=metadata)
    plt.close(figure)
    return paths


def panels(counts: int | Sequence[int], columns: int, width: float, height: float) -> tuple[Any, list[Any]]:
    """A figure of panels, filled row by row; the size of each is in inches. Each of several counts begins a row."""
    counts = [counts] if isinstance(counts, int) else counts
    columns = min(max(counts), columns)
    filled = [place < count for count in counts for place in range(-(-count // columns) * columns)]
    lines = len(filled) // columns
    size = width * columns, height * lines
    figure, grid = plt.subplots(lines, columns, figsize=size, squeeze=False, layout="constrained")
    for axes, used in zip(grid.flat, filled, strict=True):
        axes.set_visible(used)
    return figure, [axes for axes, used in zip(grid.flat, filled, strict=True) if used]


def label_ends(axes: Any, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Names in place of a legend: (x, y, words, color) of each line's end, in a column that none overlaps in.

    They are moved as little as possible: isotonic regression gives the least squares of the moves.
    """
    axes.figure.draw_without_rendering()  # limits and the size of the axes
    ends = sorted(ends, key=lambda end: end[1])
    wanted = axes.transAxes.inverted().transform(axes.transData.transform([end[:2] for end in ends]))[:, 1]
    gap = 1.3 * SMALL / 72 * axes.figure.dpi / axes.get_window_extent().height
    steps = gap * np.arange(len(ends))
    places = np.clip(isotonic_regression(wanted - steps).x, 0, max(0, 1 - steps[-1])) + steps
    for (x, y, words, color), place in zip(ends, places, strict=True):
        line = {"arrowstyle": "-", "color": color, "linewidth": 0.8, "alpha": 0.6, "relpos": (0, 0.5), "shrinkA": 1}
        look = {"color": color, "fontsize": SMALL, "va": "center", "textcoords": "axes fraction"}
        axes.annotate(words, (x, y), (1.03, place), **look, arrowprops=line | {"shrinkB": 2}, annotation_clip=False)


def empty(message: str) -> Any:
    """A figure that says why there is nothing to draw yet."""
    figure = plt.figure(figsize=(6, 1.6))
    figure.text(0.5, 0.5, message, ha="center", va="center", color=MUTED)
    return figure


def title(suite: Suite, group: Group) -> str:
    """A method and its augmentation in words, with the data set where there are several."""
    words = suite.words(group)
    head = f"{words['dataset']}: " if len({group.dataset for group in suite.groups}) > 1 else ""
    return f"{head}{words['method']}, {words['augmentation']}"


def colors(suite: Suite) -> dict[str, str]:
    """One color per method, the same in every figure: hues for methods and baselines, grays for reference rows."""
    kinds = {key: entry.get("kind") for key, entry in suite.plan["methods"].items()}
    learned = sorted((key for key in kinds if kinds[key] != "reference"), key=lambda key: kinds[key] != "method")
    found = {
        key: COLORS[at and 1 + (at - 1) % (len(COLORS) - 1)] for at, key in enumerate(learned)
    }  # the first hue once
    references = [key for key in kinds if kinds[key] == "reference"]
    return found | {key: GRAYS[index % len(GRAYS)] for index, key in enumerate(references)}
