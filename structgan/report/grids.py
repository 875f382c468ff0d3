"""Small multiples: training curves, grids of samples, maps of the features."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from structgan.files import read_json
from structgan.report.layouts import PROBES
from structgan.report.markup import shown
from structgan.report.records import Group, Suite
from structgan.report.style import HALO, INK, MUTED, colours, empty

POINTS = 300
PANELS = 8
CLASS_LEGEND = 20


def finished(suite: Suite, group: Group, file: str, state: str = "probe") -> list[Path]:
    """That file of every run of a group whose numbers count, in order of the seeds."""
    counted = ("finished", "stale") if suite.include_stale else ("finished",)
    rows = [row for row in suite.groups.get(group, []) if suite.lists[state][row] in counted]
    paths = [Path(suite.lists["folder"][row]) / file for row in rows]
    return [path for path in paths if path.exists()]


def main_groups(suite: Suite) -> dict[tuple[str, str], list[Group]]:
    """By data set and method, in the plan's order: the main variant under each regime, weakest first."""
    found: dict[tuple[str, str], list[Group]] = {}
    for group in suite.groups:
        if group.variant == suite.main_variant(group.method):
            found.setdefault((group.dataset, group.method), []).append(group)
    return found


def training(suite: Suite) -> Any:
    """A row per method, or two, a panel per loss and one for images/s: seeds as thin lines, their mean over it.

    Lines are running means over a fifteenth of the run. Each method is shown under the weakest regime that it has.
    """
    import matplotlib.pyplot as plt

    rows: list[tuple[Group, list[dict[str, Any]]]] = []
    for groups in main_groups(suite).values():
        for group in groups:
            histories = [_history(path) for path in finished(suite, group, "history.json")]
            if histories := [history for history in histories if len(history["records"]) > 1]:
                rows.append((group, histories))
                break
    if not rows:
        return empty("No training history yet: nothing to draw.")
    parts = [
        (group, dict(panels[start : start + PANELS]))
        for group, histories in rows
        for panels in [list(_curves(histories).items())]
        for start in range(0, len(panels), PANELS)
    ]
    width = max(len(panels) for _, panels in parts)
    figure = plt.figure(figsize=(max(2.0 * width, 5.0), 1.6 * len(parts) + 0.3))
    palette, several = colours(suite), len({group.dataset for group, _ in rows}) > 1
    height = float(figure.get_figheight())
    for line, (group, panels) in enumerate(parts):
        words = f"{suite.title('method', group.method)}, {suite.title('augmentation', group.augmentation)}"
        words = f"{suite.title('dataset', group.dataset)}: {words}" if several else words
        top = height - 0.05 - 1.6 * line
        figure.text(0.012, (top - 0.03) / height, words, color=palette[group.method], fontweight="bold", va="top")
        for column, (name, lines) in enumerate(panels.items()):
            left, wide = (column + 0.2) / width, 0.74 / width
            axes = figure.add_axes((left, (top - 1.36) / height, wide, 0.95 / height))
            for steps, values in lines:
                axes.plot(steps, values, color=palette[group.method], alpha=0.3, linewidth=0.9)
            steps, mean = mean_line(lines)
            axes.plot(steps, mean, color=palette[group.method], linewidth=1.8)
            axes.set_title(name, fontsize=8.5, fontweight="normal", color=INK, pad=3)
            axes.tick_params(labelsize=7, pad=1)
            axes.locator_params(nbins=4)
            if name == "images per second":
                axes.set_ylim(bottom=0)
    figure.text(0.988, 0.06 / height, "x: optimiser steps", ha="right", va="bottom", color=MUTED, fontsize=8)
    return figure


def _history(path: Path) -> dict[str, Any]:
    """A run's records, and its images per second between two points of the pace that its env.json keeps."""
    environment = path.with_name("env.json")
    env = read_json(environment) if environment.exists() else {}
    speeds = [
        (step, env["images"] / env["steps"] * (step - before) / (seconds - since))
        for (before, since), (step, seconds) in itertools.pairwise(env.get("pace", []))
        if seconds > since and step > before
    ]
    return {"records": read_json(path).get("records", []), "speeds": speeds}


def _curves(histories: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[list[float], list[float]]]]:
    """Panels by title: for each seed its steps and smoothed values."""
    runs = [history["records"] for history in histories]
    names = list(dict.fromkeys(name for records in runs for record in records for name in record.get("losses", {})))
    panels: dict[str, list[tuple[list[float], list[float]]]] = {}
    for name in names:
        series = [[(r["step"], r["losses"][name]) for r in records if name in r.get("losses", {})] for records in runs]
        panels[name.replace("_", " ")] = [smooth(line) for line in series if line]
    speeds = [smooth(history["speeds"]) for history in histories if history["speeds"]]
    return panels | ({"images per second": speeds} if speeds else {})


def smooth(line: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Running mean over a fifteenth of the line, then at most ``POINTS`` of it."""
    window = max(1, len(line) // 15)
    values = [value for _, value in line]
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    smooth = []
    for index in range(len(line)):
        low, high = max(0, index - window // 2), min(len(line), index + window // 2 + 1)
        smooth.append((sums[high] - sums[low]) / (high - low))
    stride = -(-len(line) // POINTS)
    return [step for step, _ in line][::stride], smooth[::stride]


def mean_line(lines: Sequence[tuple[list[float], list[float]]]) -> tuple[list[float], list[float]]:
    """Mean over seeds at the steps that every seed has."""
    tables = [dict(zip(steps, values, strict=True)) for steps, values in lines]
    common = [step for step in lines[0][0] if all(step in table for table in tables)]
    return common, [sum(table[step] for table in tables) / len(tables) for step in common]


def samples(suite: Suite) -> Any:
    """samples.png of each generating method side by side, a row per regime, enlarged without smoothing."""
    import matplotlib.pyplot as plt
    import numpy as np
    from PIL import Image

    found: dict[tuple[str, str], dict[str, Path]] = {}
    for (dataset, method), groups in main_groups(suite).items():
        for group in groups if suite.samples(method) else []:
            if paths := finished(suite, group, "samples.png", "fidelity") or finished(suite, group, "samples.png"):
                found.setdefault((dataset, group.augmentation), {})[method] = paths[0]
    if not found:
        return empty("No generated images yet.")
    panels = [(row, method, path) for row, entry in found.items() for method, path in entry.items()]
    methods = len({method for _, method, _ in panels})
    columns = min(len(panels), methods * max(1, 4 // methods))
    side = 420 if columns <= 2 else 300
    pictures = [np.asarray(Image.open(path).convert("RGB")) for _, _, path in panels]
    factors = [max(1, round(side / picture.shape[1])) for picture in pictures]
    wide = max(picture.shape[1] * factor for picture, factor in zip(pictures, factors, strict=True))
    tall = max(picture.shape[0] * factor for picture, factor in zip(pictures, factors, strict=True))
    gap, head = 16, 34
    width, height = gap + (wide + gap) * columns, (tall + head) * -(-len(panels) // columns) + gap
    figure = plt.figure(figsize=(width / 100, height / 100))
    several, palette = len({dataset for dataset, _ in found}) > 1, colours(suite)
    for index, (((dataset, regime), method, _), picture, factor) in enumerate(
        zip(panels, pictures, factors, strict=True)
    ):
        left, top = gap + (wide + gap) * (index % columns), (tall + head) * (index // columns) + head
        words = f"{suite.title('method', method)}, {suite.title('augmentation', regime)}"
        words = f"{suite.title('dataset', dataset)}: {words}" if several else words
        figure.text(
            left / width,
            1 - (top - 7) / height,
            words,
            color=palette[method],
            fontweight="bold",
            va="bottom",
            fontsize=9,
        )
        size = (picture.shape[1] * factor, picture.shape[0] * factor)
        axes = figure.add_axes((left / width, 1 - (top + size[1]) / height, size[0] / width, size[1] / height))
        axes.imshow(picture, interpolation="none", aspect="auto")
        axes.set_axis_off()
    return figure


def features(suite: Suite) -> Any:
    """Two-dimensional maps of test features: a row per method, a column per regime, coloured by class, first seed."""
    import matplotlib.pyplot as plt
    import numpy as np
    import seaborn as sns
    from matplotlib.lines import Line2D

    regimes = [key for key in suite.plan["augmentations"] if any(group.augmentation == key for group in suite.groups)]
    maps: dict[tuple[str, str], dict[str, tuple[Mapping[str, Any], float]]] = {}
    for key, groups in main_groups(suite).items():
        for group in groups:
            for path in finished(suite, group, "probe.json")[:1]:
                top1 = read_json(path).get("metrics", {}).get("linear", {}).get("top1")
                if (positions := path.with_name("map.json")).exists():
                    maps.setdefault(key, {})[group.augmentation] = (read_json(positions), top1)
    if not maps:
        return empty("No map of features yet.")
    names = list(
        dict.fromkeys(str(n) for entry in maps.values() for m, _ in entry.values() for n in m.get("classes", []))
    )
    count = max([len(names)] + [1 + max(m["labels"], default=0) for entry in maps.values() for m, _ in entry.values()])
    palette = np.array(sns.color_palette("colorblind", 10) if count <= 10 else sns.husl_palette(count, l=0.55))
    side, left, head = 1.75, 1.35, 0.35
    width = left + side * len(regimes)
    fitting = max(1, int(width / (0.35 + 0.065 * max(map(len, names), default=0))))  # inches: a mark, and 8 pt letters
    named = len(names) if len(names) <= CLASS_LEGEND else 0
    foot = 0.25 + 0.2 * -(-named // fitting)
    height = head + side * len(maps) + foot
    figure = plt.figure(figsize=(width, height))
    several = len({dataset for dataset, _ in maps}) > 1
    for column, regime in enumerate(regimes):
        x = (left + side * (column + 0.5)) / width
        figure.text(x, 1 - 0.2 / height, suite.title("augmentation", regime), ha="center", va="center", color=MUTED)
    for line, ((dataset, method), entry) in enumerate(maps.items()):
        base = height - head - side * (line + 1)
        words = suite.title("method", method).replace(" ", "\n") + (
            f"\n{suite.title('dataset', dataset)}" if several else ""
        )
        figure.text(
            (left - 0.12) / width, (base + side / 2) / height, words, ha="right", va="center",
            color=colours(suite)[method], fontweight="bold",
        )  # fmt: skip
        for column, regime in enumerate(regimes):
            if regime not in entry:
                continue
            content, top1 = entry[regime]
            box = (
                (left + side * column + 0.05) / width,
                (base + 0.05) / height,
                (side - 0.1) / width,
                (side - 0.1) / height,
            )
            axes = figure.add_axes(box)
            points, labels = np.asarray(content["points"], float), np.asarray(content["labels"], int)
            shade = palette[labels % len(palette)]
            axes.scatter(points[:, 0], points[:, 1], c=shade, s=5, alpha=0.8, linewidths=0, rasterized=True)
            axes.set(xticks=[], yticks=[])
            axes.spines[["top", "right", "left"]].set_visible(True)
            if isinstance(top1, int | float):
                box_style = {"facecolor": HALO, "alpha": 0.75, "edgecolor": "none", "pad": 1.5}
                axes.text(
                    0.03, 0.03, f"{shown(top1, PROBES[0])} %", transform=axes.transAxes, fontsize=8, bbox=box_style
                )
    if named:
        handles = [Line2D([], [], marker="o", linestyle="", color=palette[i % len(palette)]) for i in range(len(names))]
        figure.legend(
            handles, names, loc="lower center", ncols=min(named, fitting), fontsize=8, handletextpad=0.1,
            columnspacing=0.9, borderaxespad=0.2,
        )  # fmt: skip
    return figure
