"""Small multiples: training curves, grids of samples, maps of the features."""

import itertools
import textwrap
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from PIL import Image

from structgan.files import read_json
from structgan.report.metrics import shown
from structgan.report.results import Group, Suite
from structgan.report.style import MUTED, SMALL, colors, empty, panels, title

POINTS = 300
"""Of a line of the training curves, at most."""
CLASS_LEGEND = 20
IN_SAMPLES, IN_FEATURES = 36, 27
"""Characters of a title's line that fit a panel."""


def training(suite: Suite) -> Any:
    """A panel per method and loss, rows per method: seeds as thin lines, their mean over them.

    Lines are running means over a fifteenth of the run. Each method is shown under the first augmentation that it has.
    """
    found: list[tuple[Group, str, pd.DataFrame]] = []
    for _, groups in itertools.groupby(filter(suite.is_main, suite.groups), key=lambda group: group[:2]):
        logged = ((group, [one for one in suite.histories(group) if len(one) > 1]) for group in groups)
        for group, histories in itertools.islice(filter(lambda pair: pair[1], logged), 1):
            smooth = [one.rolling(max(1, len(one) // 15), center=True, min_periods=1).mean() for one in histories]
            thin = [one[:: -(-len(one) // POINTS)].rename_axis("step") for one in smooth]
            seeds = pd.concat(thin, keys=range(len(thin)), names=["seed"])
            found += [(group, str(loss), seeds.reset_index()) for loss in seeds]
    if not found:
        return empty("No training history yet: nothing to draw.")
    counts = [len(list(panel)) for _, panel in itertools.groupby(found, key=lambda panel: panel[0])]
    firsts = {0, *itertools.accumulate(counts)}
    figure, grid = panels(counts, 4, 2.5, 1.75)
    for at, (axes, (group, loss, seeds)) in enumerate(zip(grid, found, strict=True)):
        color = colors(suite)[group.method]
        line, light = {"x": "step", "y": loss, "color": color, "ax": axes}, {"alpha": 0.3, "linewidth": 0.9}
        sns.lineplot(seeds, **line, **light, units="seed", estimator=None)
        sns.lineplot(seeds, **line, linewidth=1.8, errorbar=None)
        axes.set_title(loss.replace("_", " "), fontsize=SMALL, fontweight="normal")
        if at in firsts:
            above = {"xycoords": "axes fraction", "textcoords": "offset points", "fontweight": "bold"}
            axes.annotate(title(suite, group), (0, 1), (0, 22), **above, color=color)
        axes.set(xlabel="", ylabel="")
        axes.tick_params(labelsize=SMALL, pad=1)
    figure.supxlabel("optimizer steps", color=MUTED, fontsize=SMALL)
    return figure


def samples(suite: Suite) -> Any:
    """The samples of each generating method under each augmentation, with real images above; not smoothed."""
    paths = {group: suite.companion(group, "fidelity", "samples.png") for group in filter(suite.is_main, suite.groups)}
    found = [(group, path) for group, path in paths.items() if path]
    if not found:
        return empty("No generated images yet.")
    figure, grid = panels(len(found), 3, 3.5, 4.1)
    for axes, (group, path) in zip(grid, found, strict=True):
        axes.imshow(Image.open(path).convert("RGB"), interpolation="none")
        axes.set_title(textwrap.fill(title(suite, group), IN_SAMPLES), color=colors(suite)[group.method])
        axes.set_axis_off()
    return figure


def features(suite: Suite) -> Any:
    """Two-dimensional maps of test features, a panel per method and augmentation, colored by class."""
    paths = {group: suite.companion(group, "probe", "map.json") for group in filter(suite.is_main, suite.groups)}
    maps = {group: read_json(path) for group, path in paths.items() if path}
    if not maps:
        return empty("No map of features yet.")
    names = list(dict.fromkeys(name for content in maps.values() for name in content["classes"]))
    palette = sns.color_palette("colorblind", 10) if len(names) <= 10 else sns.husl_palette(len(names), l=0.55)
    dots = {"hue_order": names, "palette": palette[: len(names)], "s": 9, "linewidth": 0, "alpha": 0.8}
    figure, grid = panels(len(maps), 4, 2.2, 2.3)
    for axes, (group, content) in zip(grid, maps.items(), strict=True):
        x, y = np.array(content["points"]).T
        classes = np.array(content["classes"])[content["labels"]]
        sns.scatterplot(x=x, y=y, hue=classes, **dots, rasterized=True, ax=axes)
        top1 = next(value for value in suite.values(group, suite.metric("linear")).values() if value == value)
        words = f"{textwrap.fill(title(suite, group), IN_FEATURES)}\n{shown(top1, suite.metric('linear'))} %"
        axes.set_title(words, color=colors(suite)[group.method], fontsize=8.5)
        axes.set(xticks=[], yticks=[])
        marks = axes.get_legend_handles_labels()
        axes.get_legend().remove()
    if len(names) <= CLASS_LEGEND:
        figure.legend(*marks, loc="outside right upper", fontsize=8)
    return figure
