"""A suite in short: the first lines of the page, and the table that the terminal shows."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from structgan.report import means, results
from structgan.report.cells import NAMES
from structgan.report.metrics import DASH, Metric, shown, signed
from structgan.report.statistics import Statistic, pooled_std, summarize
from structgan.report.suite import SECTIONS, Group, Suite

NAMED = 4
WIDE = 150
COLUMNS = ("linear", "svm", "kmeans", "knn", "fid", "is")


class Card(NamedTuple):
    """A key number: the number, its spread, its words, and the configuration that it is of."""

    figure: str
    spread: str
    words: str
    group: Group


class Headline(NamedTuple):
    """The key numbers of a data set, and a sentence about them."""

    sentence: str
    cards: list[Card]


def headlines(suite: Suite) -> list[Headline]:
    """One per data set on which the suite's own method has a number; under the weakest augmentation that it has."""
    found: dict[str, Group] = {}
    for group in suite.ordered:
        own = suite.method(group.method).get("kind") == "method" and suite.is_main(group)
        if own and _statistic(suite, group, "linear"):
            found.setdefault(group.dataset, group)
    return [_headline(suite, group) for group in found.values()]


def _statistic(suite: Suite, group: Group, name: str) -> Statistic | None:
    return summarize(suite.values(group, suite.metric(name)).values())


def _rivals(suite: Suite, group: Group) -> list[tuple[Group, Statistic]]:
    """The other methods without labels under the same augmentation, the contrast first, then the best.

    A reference is shown under the only augmentation that it has.
    """
    found: dict[str, tuple[Group, Statistic]] = {}
    for other in (g for g in suite.groups if g.dataset == group.dataset and suite.is_main(g)):
        method, statistic = suite.method(other.method), _statistic(suite, other, "linear")
        fits = other.augmentation == group.augmentation or method.get("kind") == "reference"
        if other.method != group.method and statistic and fits and not method.get("uses_labels"):
            found.setdefault(other.method, (other, statistic))
    return sorted(found.values(), key=lambda entry: (entry[0].method != suite.contrast, -entry[1].mean))


def _headline(suite: Suite, group: Group) -> Headline:
    linear, fid, own = suite.metric("linear"), suite.metric("fid"), _statistic(suite, group, "linear")
    assert own is not None
    words, rivals, percent = suite.words(group), _rivals(suite, group), f"{shown(own.mean, linear)} %"
    seeds = f"{own.n} seed{'s' if own.n > 1 else ''}"
    cards = [Card(percent, _spread(own.std, linear, own), f"linear top-1, {words['method']}, {seeds}", group)]
    for other, statistic in rivals[:3]:
        side = "over" if own.mean >= statistic.mean else "against"
        text = f"points {side} {suite.title('method', other.method)} ({shown(statistic.mean, linear)} %)"
        spread = _spread(pooled_std(own, statistic), linear, own)
        cards.append(Card(signed(own.mean - statistic.mean, linear), spread, text, other))
    if mine := _statistic(suite, group, "fid"):
        others = [(g, value) for g, _ in rivals if (value := _statistic(suite, g, "fid"))][:NAMED]
        named = [f"{suite.title('method', g.method)} {shown(value.mean, fid)}" for g, value in others]
        cards.append(Card(shown(mine.mean, fid), _spread(mine.std, fid, mine), ", ".join(["FID", *named]), group))
    named = [f"{suite.title('method', g.method)} {shown(value.mean, linear)} %" for g, value in rivals]
    more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
    chance = suite.chance(group.dataset)
    sentence = f"On {words['dataset']}, with augmentation “{words['augmentation']}”, {words['method']} reaches"
    sentence += f" {percent} linear top-1" + (f", against {', '.join(named[:NAMED])}{more}" if named else "")
    return Headline(sentence + (f"; chance is {shown(chance, linear)} %." if chance else "."), cards)


def _spread(std: float | None, metric: Metric, beside: Statistic) -> str:
    return "" if std is None else f"± {shown(std, metric, beside.mean)}"


def show(plan: str | Path) -> None:
    """Print the probes and the generation metrics of a suite as one table on the terminal."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    suite, console = results.read(plan), Console()
    console = console if console.is_terminal else Console(width=WIDE)
    columns, rows = {name: suite.metric(name) for name in COLUMNS}, []
    for group in suite.groups:
        cells = {name: means.mean(suite, group, metric) for name, metric in columns.items()}
        rows.append(means.row(suite, group, "probe", cells))
    means.mark(rows, columns)
    table = Table(title=escape(str(suite.plan["title"])), title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    kinds = [kind for kind in SECTIONS if kind == "method" or len({getattr(g, kind) for g in suite.groups}) > 1]
    for kind in kinds:
        table.add_column(NAMES[kind])
    for heading in ("Seeds", *(metric.brief for metric in columns.values())):
        table.add_column(heading, justify="right", no_wrap=True)
    for at, row in enumerate(rows):
        texts = [escape(row.cells[kind].words.replace("(uses labels)", "(labels)")) for kind in kinds]
        for name in columns:
            cell, wide = row.cells[name], console.width >= WIDE or name in ("linear", "fid")
            words = (f"{cell.words} {cell.spread}".rstrip() if wide else cell.words) if cell.statistic else DASH
            texts.append(f"[bold green]{words}[/]" if cell.strong else words)
        last = at + 1 == len(rows) or rows[at + 1].group[:2] != row.group[:2]
        table.add_row(*texts[: len(kinds)], row.cells["seeds"].words, *texts[len(kinds) :], end_section=last)
    console.print(table)
