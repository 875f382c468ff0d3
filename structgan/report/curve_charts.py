"""Curves of learning: the top-1 of a linear probe against what the training has cost so far."""

import itertools
from typing import Any

from matplotlib.ticker import EngFormatter, LogLocator, NullLocator

from structgan.report import curves
from structgan.report.results import SECTIONS, Group, Suite
from structgan.report.style import COLORS, MUTED, colors, empty, label_ends, panels

COSTS = {"gflops": "training, GFLOP", "images": "training, images", "seconds": "training, seconds"}
DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1, 2)))
"""Of the augmentations."""


def learning(suite: Suite, cost: str = "gflops") -> Any:
    """A line per row against a column of ``COSTS``: mean over seeds, their range as a band; a panel per data set."""
    frame = curves.load(suite)
    frame = frame[frame[cost] > 0]  # the axis is logarithmic
    if frame.empty:
        return empty("No run has a curve.")
    groups = [Group(*key) for key in frame[list(SECTIONS)].drop_duplicates().itertuples(index=False)]
    palette, places = colors(suite), [group[1:] for group in groups]
    hues = {place: palette[place[0]] for place in places}
    if len({group.method for group in groups}) == 1:
        hues = dict(zip(dict.fromkeys(places), itertools.cycle(COLORS), strict=False))
    datasets, regimes = list(dict.fromkeys(group.dataset for group in groups)), suite.regimes()
    most = max(sum(group.dataset == dataset for group in groups) for dataset in datasets)
    labels = {group: _label(suite, group, groups) for group in groups}
    width = max(5.2, 2.9 + 0.068 * max(map(len, labels.values())))
    figure, grid = panels(len(datasets), 2, width, max(3.7, 0.16 * most + 0.9))
    for axes, dataset in zip(grid, datasets, strict=True):
        ends = []
        for group in (group for group in groups if group.dataset == dataset):
            seeds = frame[(frame[list(SECTIONS)] == list(group)).all(axis=1)].groupby("step")
            x, y, color = seeds[cost].mean(), 100 * seeds["top1"].mean(), hues[group[1:]]
            dash = DASHES[regimes.index(group.augmentation) % len(DASHES)]
            axes.plot(x, y, color=color, linestyle=dash, linewidth=1.7 if suite.is_main(group) else 0.9)
            low, high = 100 * seeds["top1"].min(), 100 * seeds["top1"].max()
            axes.fill_between(x, low, high, color=color, alpha=0.13, linewidth=0)
            ends.append((x.iloc[-1], y.iloc[-1], labels[group], color))
        axes.set(xscale="log", ylim=(0, None), title=suite.title("dataset", dataset))
        axes.set(xlabel=COSTS[cost], ylabel="linear probe of the curve, top-1 %")
        axes.xaxis.set(major_locator=LogLocator(subs=(1, 3)), major_formatter=EngFormatter(sep=""))
        axes.xaxis.set_minor_locator(NullLocator())
        if chance := suite.chance(dataset):
            axes.axhline(100 * chance, color=MUTED, linewidth=1.0, linestyle=":")
            ends.append((axes.get_xlim()[1], 100 * chance, "chance", MUTED))
        label_ends(axes, ends)
    return figure


def _label(suite: Suite, group: Group, among: list[Group]) -> str:
    """The words that tell a row from the others."""
    words, kinds = suite.words(group), ["method"] if len({one.method for one in among}) > 1 else []
    own = [one for one in among if one.method == group.method]
    kinds += [kind for kind in ("augmentation", "variant") if len({getattr(one, kind) for one in own}) > 1]
    return ", ".join(words[kind] for kind in kinds) or words["method"]
