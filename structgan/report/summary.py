"""A suite in short: the key numbers of the page, and the table that the terminal shows."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import NamedTuple

from structgan.report import means, results
from structgan.report.cells import NAMES
from structgan.report.metrics import DASH, MAIN
from structgan.report.results import SECTIONS, Group, Suite
from structgan.report.statistics import Statistic

WIDE = 150


class Headline(NamedTuple):
    """The key numbers of a data set: the linear probe of the suite's own method, and of the others, best first.

    The others are those without labels under the same augmentation, the contrast before all; a reference is there under
    the only augmentation that it has. ``fids`` are the FIDs of all of them that have one.
    """

    group: Group
    own: Statistic
    rivals: dict[Group, Statistic]
    fids: dict[Group, Statistic]


def headlines(suite: Suite) -> list[Headline]:
    """One per data set on which the suite's own method has a number; under the weakest augmentation that it has."""
    numbers = {group: found for group in suite.groups if (found := suite.statistic(group, "linear"))}
    main = {group: suite.method(group.method) for group in numbers if suite.is_main(group)}
    own: dict[str, Group] = {}
    for group, method in main.items():
        if method.get("kind") == "method":
            own.setdefault(group.dataset, group)
    made = []
    for dataset, group in own.items():
        rivals: dict[str, Group] = {}
        for other, method in main.items():
            fits = other.augmentation == group.augmentation or method.get("kind") == "reference"
            if other.dataset == dataset and other.method != group.method and fits and not method.get("uses_labels"):
                rivals.setdefault(other.method, other)
        ordered = sorted(rivals.values(), key=lambda other: (other.method != suite.contrast, -numbers[other].mean))
        fids = {one: fid for one in (group, *ordered) if (fid := suite.statistic(one, "fid"))}
        made.append(Headline(group, numbers[group], {other: numbers[other] for other in ordered}, fids))
    return made


def show(plan: str | Path) -> None:
    """Print the probes and the generation metrics of a suite as one table on the terminal."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    suite, console = results.read(plan), Console()
    console = console if console.is_terminal else Console(width=WIDE)
    columns = {name: suite.metric(name) for name in MAIN}
    table = Table(title=escape(str(suite.plan["title"])), title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    kinds = [kind for kind in SECTIONS if kind == "method" or len({getattr(g, kind) for g in suite.groups}) > 1]
    for kind in kinds:
        table.add_column(NAMES[kind])
    for heading in ("Seeds", *(metric.brief for metric in columns.values())):
        table.add_column(heading, justify="right", no_wrap=True)
    rows = []
    for _, groups in itertools.groupby(suite.groups, key=lambda group: group.dataset):
        rows += means.block(suite, groups, columns, "probe")
    for _, block in itertools.groupby(rows, key=lambda row: row.group[:2]):
        for row in block:
            texts = [escape(row.cells[kind].words.replace("(uses labels)", "(labels)")) for kind in kinds]
            for name in columns:
                cell, wide = row.cells[name], console.width >= WIDE or name in ("linear", "fid")
                words = f"{cell.words} {cell.spread * wide}".rstrip() if cell.statistic else DASH
                texts.append(f"[bold green]{words}[/]" if cell.strong else words)
            table.add_row(*texts[: len(kinds)], row.cells["seeds"].words, *texts[len(kinds) :])
        table.add_section()
    console.print(table)
