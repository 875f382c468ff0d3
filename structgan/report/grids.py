"""Small multiples: training curves, grids of samples, maps of the features."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.lines import Line2D
from PIL import Image

from structgan.files import read_json
from structgan.report.metrics import shown
from structgan.report.results import Group, Suite
from structgan.report.style import HALO, INK, MUTED, blocks, colors, empty, mean_line, smooth, title

PANELS = 8
CLASS_LEGEND = 20


def main_groups(suite: Suite) -> dict[tuple[str, ...], list[Group]]:
    """By data set and method, in the plan's order: the main variant under each augmentation, weakest first."""
    found: dict[tuple[str, ...], list[Group]] = {}
    for group in filter(suite.is_main, suite.groups):
        found.setdefault(group[:2], []).append(group)
    return found


def training(suite: Suite) -> Any:
    """A row per method, or two, a panel per loss and one for images/s: seeds as thin lines, their mean over them.

    Lines are running means over a fifteenth of the run. Each method is shown under the weakest augmentation it has.
    """
    rows: list[tuple[Group, list[tuple[str, list[pd.Series]]]]] = []
    for groups in main_groups(suite).values():
        group, panels = next(((g, found) for g in groups if (found := _curves(suite, g))), (groups[0], []))
        rows += [(group, panels[start : start + PANELS]) for start in range(0, len(panels), PANELS)]
    if not rows:
        return empty("No training history yet: nothing to draw.")
    most, titles = max(len(panels) for _, panels in rows), [title(suite, group) for group, _ in rows]
    inks = [colors(suite)[group.method] for group, _ in rows]
    figure, parts = blocks(titles, max(2.0 * most, 5.0), [1.7] * len(rows), inks)
    for part, color, (_, panels) in zip(parts, inks, rows, strict=True):
        grid = part.subplots(1, most, squeeze=False)[0]
        for axes in grid[len(panels) :]:
            axes.set_visible(False)
        for axes, (name, series) in zip(grid, panels, strict=False):
            for one in series:
                axes.plot(one.index, one, color=color, alpha=0.3, linewidth=0.9)
            mean = mean_line(series)
            axes.plot(mean.index, mean, color=color, linewidth=1.8)
            axes.set_title(name, fontsize=8.5, fontweight="normal", color=INK, pad=3)
            axes.tick_params(labelsize=7, pad=1)
            axes.locator_params(nbins=4)
            axes.set_ylim(bottom=0 if name == "images per second" else None)
    figure.supxlabel("optimizer steps", color=MUTED, fontsize=8)
    return figure


def _curves(suite: Suite, group: Group) -> list[tuple[str, list[pd.Series]]]:
    """Panels by title: the smoothed values of each finished seed, by step."""
    histories = [history for history in suite.histories(group) if len(history) > 1]
    names = dict.fromkeys(str(name) for history in histories for name in history)
    panels = {name: [history[name].dropna() for history in histories if name in history] for name in names}
    speeds = [speed for record in suite.of(group, "training") if len(speed := _speed(record))]
    panels |= {"images per second": speeds} if speeds and histories else {}
    return [(name.replace("_", " "), [smooth(one) for one in series]) for name, series in panels.items()]


def _speed(record: Mapping[str, Any]) -> pd.Series:
    """Images per second between two points of the pace that a run's env.json keeps, by step."""
    pace = pd.DataFrame(record.get("pace", []), columns=["step", "seconds"], dtype=float)
    passed = pace.diff()
    speed: pd.Series = record.get("images", 0) / (record.get("steps") or 1) * passed["step"] / passed["seconds"]
    return speed.set_axis(pace["step"])[(passed > 0).all(axis=1).to_numpy()]


def samples(suite: Suite) -> Any:
    """The samples of each generating method side by side, a row per augmentation, enlarged without smoothing."""
    found = [
        (group, np.asarray(Image.open(path).convert("RGB")))
        for groups in main_groups(suite).values()
        for group in groups
        if (path := suite.companion(group, "fidelity", "samples.png"))
    ]
    if not found:
        return empty("No generated images yet.")
    found.sort(key=lambda one: (suite.rank("dataset", one[0].dataset), suite.rank("augmentation", one[0].augmentation)))
    methods = len({group.method for group, _ in found})
    columns = min(len(found), methods * max(1, 4 // methods))
    side = 420 if columns <= 2 else 300
    sizes = [max(1, round(side / p.shape[1])) * np.array((p.shape[1], p.shape[0])) for _, p in found]  # whole pixels
    wide, tall = np.max(sizes, axis=0)
    gap, head = 16, 34
    width, height = gap + (wide + gap) * columns, (tall + head) * -(-len(found) // columns) + gap
    figure, palette = plt.figure(figsize=(width / 100, height / 100)), colors(suite)
    for index, ((group, picture), size) in enumerate(zip(found, sizes, strict=True)):
        left, top = gap + (wide + gap) * (index % columns), (tall + head) * (index // columns) + head
        box = left / width, 1 - (top + size[1]) / height, size[0] / width, size[1] / height
        axes = figure.add_axes(box)
        axes.imshow(picture, interpolation="none", aspect="auto")
        axes.set_title(title(suite, group), color=palette[group.method], fontsize=9)
        axes.set_axis_off()
    return figure


def features(suite: Suite) -> Any:
    """Two-dimensional maps of test features: a row per method, a column per augmentation, colored by class."""
    rows, regimes, linear = list(main_groups(suite).values()), suite.regimes(), suite.metric("linear")
    groups = [group for groups in rows for group in groups]
    maps = {group: read_json(path) for group in groups if (path := suite.companion(group, "probe", "map.json"))}
    rows = [groups for groups in rows if set(groups) & set(maps)]
    if not rows:
        return empty("No map of features yet.")
    names = list(dict.fromkeys(str(name) for content in maps.values() for name in content.get("classes", [])))
    count = max([len(names), *(1 + max(content["labels"], default=0) for content in maps.values())])
    palette = np.array(sns.color_palette("colorblind", 10) if count <= 10 else sns.husl_palette(count, l=0.55))
    named = names if len(names) <= CLASS_LEGEND else []
    width = 1.35 + 1.75 * len(regimes)
    fitting = max(1, int(width / (0.35 + 0.065 * max(map(len, named), default=0))))  # inches: a mark, and 8 pt letters
    size = width, 0.6 + 1.75 * len(rows) + 0.2 * -(-len(named) // fitting)
    figure, grid = plt.subplots(len(rows), len(regimes), figsize=size, squeeze=False, layout="constrained")
    for axes, regime in zip(grid[0], regimes, strict=True):
        axes.set_title(
            suite.title("augmentation", regime), loc="center", fontweight="normal", color=MUTED, fontsize=9.5
        )
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    for line, groups in zip(grid, rows, strict=True):
        words = suite.words(groups[0])["method"].replace(" ", "\n")
        words += f"\n{suite.title('dataset', groups[0].dataset)}" if len({one[0].dataset for one in rows}) > 1 else ""
        look = {"rotation": 0, "ha": "right", "va": "center", "fontweight": "bold"}
        line[0].set_ylabel(words, color=colors(suite)[groups[0].method], **look)
        for group in (group for group in groups if group in maps):
            axes = line[regimes.index(group.augmentation)]
            points, labels = np.asarray(maps[group]["points"], float), np.asarray(maps[group]["labels"], int)
            axes.scatter(*points.T, c=palette[labels % len(palette)], s=5, alpha=0.8, linewidths=0, rasterized=True)
            axes.spines[:].set_visible(True)
            top1 = next(value for value in suite.values(group, linear).values() if value == value)
            box = {"facecolor": HALO, "alpha": 0.75, "edgecolor": "none", "pad": 1.5}
            axes.text(0.03, 0.03, f"{shown(top1, linear)} %", transform=axes.transAxes, fontsize=8, bbox=box)
    if named:
        marks = [Line2D([], [], marker="o", linestyle="", color=palette[i % len(palette)]) for i in range(len(named))]
        look = {"handletextpad": 0.1, "columnspacing": 0.9, "borderaxespad": 0.2, "fontsize": 8}
        figure.legend(marks, named, loc="outside lower center", ncols=min(len(named), fitting), **look)
    return figure
