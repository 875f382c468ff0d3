"""How figures look: a color per method that the color-blind can tell apart, files that regenerate byte for byte.

Every color of text, grid and method is a constant that the page replaces by a CSS variable, so that a drawing follows
the reader's light or dark scheme.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from structgan.files import replacing
from structgan.report.suite import Suite

INK, MUTED, GRID, PAPER, HALO = "#23272f", "#5f6672", "#dde1e7", "#ffffff", "#fefefe"
# Okabe and Ito's palette (jfly.uni-koeln.de/color), reordered: the first color is the suite's own method.
COLORS = ("#d55e00", "#0072b2", "#009e73", "#aa4499", "#b8860b", "#3a9fd8", "#7a5230", "#e0559a")
DARK_COLORS = ("#ff8a3d", "#5db4f0", "#3ccf9f", "#dd84cf", "#e6b94d", "#8fd0f7", "#c79a6f", "#ff8fc0")
GRAYS = ("#7b828e", "#454c59", "#9aa1ac")
DARK_GRAYS = ("#9aa3b2", "#d3d9e3", "#727b89")
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")


@contextmanager
def drawing() -> Iterator[None]:
    """Matplotlib on the Agg backend with the look of figures.mplstyle, for the time of the block."""
    import matplotlib
    from matplotlib import style

    matplotlib.use("Agg")
    with style.context(["default", Path(__file__).with_name("figures.mplstyle")]):
        yield


def save(figure: Any, out_dir: Path, name: str, dpi: int = 144) -> list[Path]:
    """Write a figure as svg and png without dates and versions, close it, and return both paths."""
    import matplotlib.pyplot as plt

    paths = [out_dir / f"{name}.svg", out_dir / f"{name}.png"]
    with replacing(paths[0]) as temporary:
        figure.savefig(temporary, format="svg", dpi=dpi, metadata={"Date": None, "Creator": None})
    with replacing(paths[1]) as temporary:
        figure.savefig(temporary, format="png", dpi=dpi, metadata={"Software": None})
    plt.close(figure)
    return paths


def canvas(size: tuple[float, float]) -> Any:
    """An empty figure of this width and height in inches."""
    import matplotlib.pyplot as plt

    return plt.figure(figsize=size)


def place(figure: Any, box: tuple[float, float, float, float]) -> Any:
    """Axes at a place of a figure: left, bottom, width and height in inches."""
    width, height = (float(side) for side in figure.get_size_inches())
    return figure.add_axes((box[0] / width, box[1] / height, box[2] / width, box[3] / height))


def empty(message: str) -> Any:
    """A figure that says why there is nothing to draw yet."""
    figure = canvas((6, 1.6))
    figure.text(0.5, 0.5, message, ha="center", va="center", color=MUTED)
    return figure


def smooth(series: pd.Series, points: int = 300) -> pd.Series:
    """Running mean over a fifteenth of a series, then at most ``points`` of it."""
    window = max(1, len(series) // 15)
    return series.rolling(window, center=True, min_periods=1).mean().iloc[:: -(-len(series) // points)]


def mean_line(series: Sequence[pd.Series]) -> pd.Series:
    """Mean over seeds at the steps that every seed has."""
    return pd.concat(series, axis=1, join="inner").mean(axis=1)


def colors(suite: Suite, dark: bool = False) -> dict[str, str]:
    """One color per method, the same in every figure: hues for methods and baselines, grays for reference rows."""
    hues, grays = (DARK_COLORS, DARK_GRAYS) if dark else (COLORS, GRAYS)
    own = [key for key, entry in suite.plan["methods"].items() if entry.get("kind") == "method"]
    references = [key for key, entry in suite.plan["methods"].items() if entry.get("kind") == "reference"]
    others = [key for key in suite.plan["methods"] if key not in own and key not in references]
    # The first hue is never given twice.
    found = {key: hues[at and 1 + (at - 1) % (len(hues) - 1)] for at, key in enumerate([*own, *others])}
    return found | {key: grays[index % len(grays)] for index, key in enumerate(references)}


def markers(suite: Suite) -> dict[str, str]:
    """One marker per method, so that color is never the only difference."""
    return {key: MARKERS[index % len(MARKERS)] for index, key in enumerate(suite.plan["methods"])}
