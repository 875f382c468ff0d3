"""Small multiples: training curves, grids of samples, maps of the features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from structgan.files import read_json
from structgan.report.metrics import shown
from structgan.report.style import HALO, INK, MUTED, canvas, colors, empty, mean_line, place, smooth
from structgan.report.suite import Group, Suite

PANELS = 8
CLASS_LEGEND = 20


def main_groups(suite: Suite) -> dict[tuple[str, ...], list[Group]]:
    """By data set and method, in the plan's order: the main variant under each augmentation, weakest first."""
    found: dict[tuple[str, ...], list[Group]] = {}
    for group in filter(suite.is_main, suite.groups):
        found.setdefault(group[:2], []).append(group)
    return found


def title(suite: Suite, group: Group) -> str:
    """A method and its augmentation in words, with the data set where there are several."""
    words = suite.words(group)
    head = f"{words['dataset']}: " if len({group.dataset for group in suite.groups}) > 1 else ""
    return f"{head}{words['method']}, {words['augmentation']}"


def training(suite: Suite) -> Any:
    """A row per method, or two, a panel per loss and one for images/s: seeds as thin lines, their mean over them.

    Lines are running means over a fifteenth of the run. Each method is shown under the weakest augmentation it has.
    """
    rows: list[tuple[Group, dict[str, list[pd.Series]]]] = []
    for groups in main_groups(suite).values():
        group, panels = next(((g, found) for g in groups if (found := _curves(suite, g))), (groups[0], {}))
        names = list(panels)
        parts = (names[start : start + PANELS] for start in range(0, len(names), PANELS))
        rows += [(group, {name: panels[name] for name in part}) for part in parts]
    if not rows:
        return empty("No training history yet: nothing to draw.")
    most, height, palette = max(len(panels) for _, panels in rows), 1.6 * len(rows) + 0.3, colors(suite)
    figure, panel = canvas((max(2.0 * most, 5.0), height)), max(2.0, 5.0 / most)
    for line, (group, panels) in enumerate(rows):
        top, color = height - 0.05 - 1.6 * line, palette[group.method]
        figure.text(0.012, (top - 0.03) / height, title(suite, group), color=color, fontweight="bold", va="top")
        for column, (name, series) in enumerate(panels.items()):
            axes = place(figure, ((column + 0.2) * panel, top - 1.36, 0.74 * panel, 0.95))
            for one in series:
                axes.plot(one.index, one, color=color, alpha=0.3, linewidth=0.9)
            mean = mean_line(series)
            axes.plot(mean.index, mean, color=color, linewidth=1.8)
            axes.set_title(name, fontsize=8.5, fontweight="normal", color=INK, pad=3)
            axes.tick_params(labelsize=7, pad=1)
            axes.locator_params(nbins=4)
            axes.set_ylim(bottom=0 if name == "images per second" else None)
    figure.text(0.988, 0.06 / height, "x: optimizer steps", ha="right", va="bottom", color=MUTED, fontsize=8)
    return figure


def _curves(suite: Suite, group: Group) -> dict[str, list[pd.Series]]:
    """Panels by title: the smoothed values of each finished seed, by step."""
    histories = [history for history in suite.histories(group) if len(history) > 1]
    names = dict.fromkeys(str(name) for history in histories for name in history)
    panels = {name: [history[name].dropna() for history in histories if name in history] for name in names}
    speeds = [speed for record in suite.of(group, "training") if len(speed := _speed(record))]
    panels |= {"images per second": speeds} if speeds and histories else {}
    return {name.replace("_", " "): [smooth(one) for one in series] for name, series in panels.items()}


def _speed(record: Mapping[str, Any]) -> pd.Series:
    """Images per second between two points of the pace that a run's env.json keeps, by step."""
    pace = pd.DataFrame(record.get("pace", []), columns=["step", "seconds"], dtype=float)
    steps, seconds = pace["step"].diff(), pace["seconds"].diff()
    speed: pd.Series = record.get("images", 0) / (record.get("steps") or 1) * steps / seconds
    speed.index = pd.Index(pace["step"])
    return speed[((steps > 0) & (seconds > 0)).to_numpy()]


def samples(suite: Suite) -> Any:
    """The samples of each generating method side by side, a row per augmentation, enlarged without smoothing."""
    import numpy as np
    from PIL import Image

    found = [
        (group, np.asarray(Image.open(path).convert("RGB")))
        for groups in main_groups(suite).values()
        for group in groups
        for path in suite.companions(group, "fidelity", "samples.png")[:1]
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
    figure, palette = canvas((width / 100, height / 100)), colors(suite)
    for index, ((group, picture), size) in enumerate(zip(found, sizes, strict=True)):
        left, top = gap + (wide + gap) * (index % columns), (tall + head) * (index // columns) + head
        at, words = (left / width, 1 - (top - 7) / height), title(suite, group)
        figure.text(*at, words, color=palette[group.method], fontweight="bold", va="bottom", fontsize=9)
        axes = place(figure, (left / 100, (height - top - size[1]) / 100, size[0] / 100, size[1] / 100))
        axes.imshow(picture, interpolation="none", aspect="auto")
        axes.set_axis_off()
    return figure


def features(suite: Suite) -> Any:
    """Two-dimensional maps of test features: a row per method, a column per augmentation, colored by class."""
    import numpy as np
    import seaborn as sns
    from matplotlib.lines import Line2D

    linear, regimes, rows = suite.metric("linear"), suite.regimes(), list(main_groups(suite).values())
    groups = [group for groups in rows for group in groups]
    maps = {g: read_json(path) for g in groups for path in suite.companions(g, "probe", "map.json")[:1]}
    if not maps:
        return empty("No map of features yet.")
    rows = [groups for groups in rows if set(groups) & set(maps)]
    names = list(dict.fromkeys(str(name) for content in maps.values() for name in content.get("classes", [])))
    count = max([len(names), *(1 + max(content["labels"], default=0) for content in maps.values())])
    palette = np.array(sns.color_palette("colorblind", 10) if count <= 10 else sns.husl_palette(count, l=0.55))
    side, left, head = 1.75, 1.35, 0.35
    width = left + side * len(regimes)
    fitting = max(1, int(width / (0.35 + 0.065 * max(map(len, names), default=0))))  # inches: a mark, and 8 pt letters
    named = len(names) if len(names) <= CLASS_LEGEND else 0
    height = head + side * len(rows) + 0.25 + 0.2 * -(-named // fitting)
    figure = canvas((width, height))
    for column, regime in enumerate(regimes):
        at = (left + side * (column + 0.5)) / width, 1 - 0.2 / height
        figure.text(*at, suite.title("augmentation", regime), ha="center", va="center", color=MUTED)
    for line, groups in enumerate(rows):
        base, color = height - head - side * (line + 1), colors(suite)[groups[0].method]
        words = suite.words(groups[0])["method"].replace(" ", "\n")
        words += f"\n{suite.title('dataset', groups[0].dataset)}" if len({one[0].dataset for one in rows}) > 1 else ""
        at = (left - 0.12) / width, (base + side / 2) / height
        figure.text(*at, words, ha="right", va="center", color=color, fontweight="bold")
        for group in (group for group in groups if group in maps):
            column = regimes.index(group.augmentation)
            axes = place(figure, (left + side * column + 0.05, base + 0.05, side - 0.1, side - 0.1))
            points, labels = np.asarray(maps[group]["points"], float), np.asarray(maps[group]["labels"], int)
            axes.scatter(*points.T, c=palette[labels % len(palette)], s=5, alpha=0.8, linewidths=0, rasterized=True)
            axes.set(xticks=[], yticks=[])
            axes.spines[["top", "right", "left"]].set_visible(True)
            top1 = next(value for value in suite.values(group, linear).values() if value == value)
            box = {"facecolor": HALO, "alpha": 0.75, "edgecolor": "none", "pad": 1.5}
            axes.text(0.03, 0.03, f"{shown(top1, linear)} %", transform=axes.transAxes, fontsize=8, bbox=box)
    if named:
        marks = [Line2D([], [], marker="o", linestyle="", color=palette[i % len(palette)]) for i in range(named)]
        columns, look = min(named, fitting), {"handletextpad": 0.1, "columnspacing": 0.9, "borderaxespad": 0.2}
        figure.legend(marks, names, loc="lower center", ncols=columns, fontsize=8, **look)
    return figure
