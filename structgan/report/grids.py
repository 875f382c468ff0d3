"""Small multiples: training curves, grids of samples, maps of the features."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from structgan.files import read_json
from structgan.report.ablations import mean_line, smooth
from structgan.report.metrics import shown
from structgan.report.style import HALO, INK, MUTED, canvas, colors, empty, place
from structgan.report.suite import Group, Suite

PANELS = 8
CLASS_LEGEND = 20

Curve = tuple[list[float], list[float]]


def main_groups(suite: Suite) -> dict[tuple[str, ...], list[Group]]:
    """By data set and method, in the plan's order: the main variant under each augmentation, weakest first."""
    found: dict[tuple[str, ...], list[Group]] = {}
    for group in filter(suite.is_main, suite.groups):
        found.setdefault(group[:2], []).append(group)
    return found


def training(suite: Suite) -> Any:
    """A row per method, or two, a panel per loss and one for images/s: seeds as thin lines, their mean over it.

    Lines are running means over a fifteenth of the run. Each method is shown under the weakest augmentation it has.
    """
    rows: list[tuple[Group, dict[str, list[Curve]]]] = []
    for groups in main_groups(suite).values():
        found = ((group, panels) for group in groups if (panels := _curves(suite, group)))
        for group, panels in itertools.islice(found, 1):
            names = list(panels)
            parts = [names[start : start + PANELS] for start in range(0, len(names), PANELS)]
            rows += [(group, {name: panels[name] for name in part}) for part in parts]
    if not rows:
        return empty("No training history yet: nothing to draw.")
    width = max(len(panels) for _, panels in rows)
    height = 1.6 * len(rows) + 0.3
    figure, palette = canvas((max(2.0 * width, 5.0), height)), colors(suite)
    several, panel = len({group.dataset for group, _ in rows}) > 1, max(2.0 * width, 5.0) / width
    for line, (group, panels) in enumerate(rows):
        top, color = height - 0.05 - 1.6 * line, palette[group.method]
        words = f"{suite.title('method', group.method)}, {suite.title('augmentation', group.augmentation)}"
        words = f"{suite.title('dataset', group.dataset)}: {words}" if several else words
        figure.text(0.012, (top - 0.03) / height, words, color=color, fontweight="bold", va="top")
        for column, (name, lines) in enumerate(panels.items()):
            axes = place(figure, ((column + 0.2) * panel, top - 1.36, 0.74 * panel, 0.95))
            for steps, values in lines:
                axes.plot(steps, values, color=color, alpha=0.3, linewidth=0.9)
            axes.plot(*mean_line(lines), color=color, linewidth=1.8)
            axes.set_title(name, fontsize=8.5, fontweight="normal", color=INK, pad=3)
            axes.tick_params(labelsize=7, pad=1)
            axes.locator_params(nbins=4)
            if name == "images per second":
                axes.set_ylim(bottom=0)
    figure.text(0.988, 0.06 / height, "x: optimizer steps", ha="right", va="bottom", color=MUTED, fontsize=8)
    return figure


def _curves(suite: Suite, group: Group) -> dict[str, list[Curve]]:
    """Panels by title: for each finished seed its steps and smoothed values."""
    runs = [records for records in suite.history(group) if len(records) > 1]
    names = dict.fromkeys(name for records in runs for record in records for name in record.get("losses", {}))
    panels: dict[str, list[Curve]] = {}
    for name in names:
        series = [[(r["step"], r["losses"][name]) for r in records if name in r.get("losses", {})] for records in runs]
        panels[name.replace("_", " ")] = [smooth(line) for line in series if line]
    speeds = [smooth(line) for record in suite.of(group, "training") if (line := _speeds(record))] if runs else []
    return panels | ({"images per second": speeds} if speeds else {})


def _speeds(record: Mapping[str, Any]) -> list[tuple[float, float]]:
    """Images per second between two points of the pace that a run's env.json keeps."""
    return [
        (step, record["images"] / record["steps"] * (step - before) / (seconds - since))
        for (before, since), (step, seconds) in itertools.pairwise(record.get("pace", []))
        if seconds > since and step > before
    ]


def samples(suite: Suite) -> Any:
    """The samples of each generating method side by side, a row per augmentation, enlarged without smoothing."""
    import numpy as np
    from PIL import Image

    found: dict[tuple[str, str], dict[str, Path]] = {}
    for groups in main_groups(suite).values():
        for group in groups:
            for path in suite.companions(group, "fidelity", "samples.png")[:1]:
                found.setdefault((group.dataset, group.augmentation), {})[group.method] = path
    if not found:
        return empty("No generated images yet.")
    panels = [(row, method, path) for row, entry in found.items() for method, path in entry.items()]
    methods = len({method for _, method, _ in panels})
    columns = min(len(panels), methods * max(1, 4 // methods))
    side = 420 if columns <= 2 else 300
    pictures = [np.asarray(Image.open(path).convert("RGB")) for _, _, path in panels]
    factors = [max(1, round(side / picture.shape[1])) for picture in pictures]
    sizes = [(p.shape[1] * factor, p.shape[0] * factor) for p, factor in zip(pictures, factors, strict=True)]
    wide, tall = (max(size[axis] for size in sizes) for axis in (0, 1))
    gap, head = 16, 34
    width, height = gap + (wide + gap) * columns, (tall + head) * -(-len(panels) // columns) + gap
    figure, palette = canvas((width / 100, height / 100)), colors(suite)
    several = len({dataset for dataset, _ in found}) > 1
    for index, (((dataset, regime), method, _), picture, size) in enumerate(zip(panels, pictures, sizes, strict=True)):
        left, top = gap + (wide + gap) * (index % columns), (tall + head) * (index // columns) + head
        words = f"{suite.title('method', method)}, {suite.title('augmentation', regime)}"
        words = f"{suite.title('dataset', dataset)}: {words}" if several else words
        at, style = (left / width, 1 - (top - 7) / height), {"fontweight": "bold", "va": "bottom", "fontsize": 9}
        figure.text(*at, words, color=palette[method], **style)
        axes = place(figure, (left / 100, (height - top - size[1]) / 100, size[0] / 100, size[1] / 100))
        axes.imshow(picture, interpolation="none", aspect="auto")
        axes.set_axis_off()
    return figure


def features(suite: Suite) -> Any:
    """Two-dimensional maps of test features: a row per method, a column per augmentation, colored by class."""
    import numpy as np
    import seaborn as sns
    from matplotlib.lines import Line2D

    linear, regimes = suite.metric("linear"), suite.regimes()
    maps: dict[tuple[str, ...], dict[str, tuple[Mapping[str, Any], float]]] = {}
    for key, groups in main_groups(suite).items():
        for group in groups:
            for path in suite.companions(group, "probe", "map.json")[:1]:
                top1 = next(value for value in suite.values(group, linear).values() if value == value)
                maps.setdefault(key, {})[group.augmentation] = (read_json(path), top1)
    if not maps:
        return empty("No map of features yet.")
    contents = [content for entry in maps.values() for content, _ in entry.values()]
    names = list(dict.fromkeys(str(name) for content in contents for name in content.get("classes", [])))
    count = max([len(names)] + [1 + max(content["labels"], default=0) for content in contents])
    palette = np.array(sns.color_palette("colorblind", 10) if count <= 10 else sns.husl_palette(count, l=0.55))
    side, left, head = 1.75, 1.35, 0.35
    width = left + side * len(regimes)
    fitting = max(1, int(width / (0.35 + 0.065 * max(map(len, names), default=0))))  # inches: a mark, and 8 pt letters
    named = len(names) if len(names) <= CLASS_LEGEND else 0
    height = head + side * len(maps) + 0.25 + 0.2 * -(-named // fitting)
    figure, several = canvas((width, height)), len({key[0] for key in maps}) > 1
    for column, regime in enumerate(regimes):
        x = (left + side * (column + 0.5)) / width
        figure.text(x, 1 - 0.2 / height, suite.title("augmentation", regime), ha="center", va="center", color=MUTED)
    for line, ((dataset, method), entry) in enumerate(maps.items()):
        base = height - head - side * (line + 1)
        words = suite.title("method", method).replace(" ", "\n")
        words += f"\n{suite.title('dataset', dataset)}" if several else ""
        figure.text(
            (left - 0.12) / width, (base + side / 2) / height, words, ha="right", va="center",
            color=colors(suite)[method], fontweight="bold",
        )  # fmt: skip
        for regime, (content, top1) in entry.items():
            at = left + side * regimes.index(regime)
            axes = place(figure, (at + 0.05, base + 0.05, side - 0.1, side - 0.1))
            points, labels = np.asarray(content["points"], float), np.asarray(content["labels"], int)
            shade = palette[labels % len(palette)]
            axes.scatter(points[:, 0], points[:, 1], c=shade, s=5, alpha=0.8, linewidths=0, rasterized=True)
            axes.set(xticks=[], yticks=[])
            axes.spines[["top", "right", "left"]].set_visible(True)
            box = {"facecolor": HALO, "alpha": 0.75, "edgecolor": "none", "pad": 1.5}
            axes.text(0.03, 0.03, f"{shown(top1, linear)} %", transform=axes.transAxes, fontsize=8, bbox=box)
    if named:
        handles = [Line2D([], [], marker="o", linestyle="", color=palette[i % len(palette)]) for i in range(named)]
        figure.legend(
            handles, names, loc="lower center", ncols=min(named, fitting), fontsize=8, handletextpad=0.1,
            columnspacing=0.9, borderaxespad=0.2,
        )  # fmt: skip
    return figure
