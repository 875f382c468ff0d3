"""A suite in short: the first lines of the page, and the table that the terminal shows."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from structgan.report import means, results
from structgan.report.cells import NAMES, Cell
from structgan.report.metrics import DASH, Metric, shown, signed
from structgan.report.statistics import Statistic, pooled_std, summarise
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
        if own and group.dataset not in found and _statistic(suite, group, "linear"):
            found[group.dataset] = group
    return [_headline(suite, group) for group in found.values()]


def _statistic(suite: Suite, group: Group, name: str) -> Statistic | None:
    return summarise(suite.values(group, suite.metric(name)).values())


def _rivals(suite: Suite, group: Group) -> list[tuple[Group, Statistic]]:
    """The other methods without labels under the same augmentation, the contrast first, then the best.

    A reference is shown under the only augmentation that it has.
    """
    found = []
    for key in suite.plan["methods"]:
        mains = [g for g in suite.groups if g[:2] == (group.dataset, key) and suite.is_main(g)]
        same = [g for g in mains if g.augmentation == group.augmentation]
        if key != group.method and not suite.method(key).get("uses_labels"):
            chosen = same or (mains if suite.method(key).get("kind") == "reference" else [])
            found += [(g, statistic) for g in chosen[:1] if (statistic := _statistic(suite, g, "linear"))]
    return sorted(found, key=lambda entry: (entry[0].method != suite.contrast, -entry[1].mean))


def _headline(suite: Suite, group: Group) -> Headline:
    linear, fid, own = suite.metric("linear"), suite.metric("fid"), _statistic(suite, group, "linear")
    assert own is not None
    words, rivals = suite.words(group), _rivals(suite, group)
    seeds = f"{own.n} seed{'s' if own.n > 1 else ''}"
    percent = f"{shown(own.mean, linear)} %"
    cards = [Card(percent, _spread(own, linear), f"linear top-1, {words['method']}, {seeds}", group)]
    for other, statistic in rivals[:3]:
        noise = pooled_std(own, statistic)
        side = "over" if own.mean >= statistic.mean else "against"
        text = f"points {side} {suite.title('method', other.method)} ({shown(statistic.mean, linear)} %)"
        spread = f"± {shown(noise, linear)}" if noise is not None else ""
        cards.append(Card(signed(own.mean - statistic.mean, linear), spread, text, other))
    if mine := _statistic(suite, group, "fid"):
        others = [(g, value) for g, _ in rivals if (value := _statistic(suite, g, "fid"))][:NAMED]
        named = [f"{suite.title('method', g.method)} {shown(value.mean, fid)}" for g, value in others]
        cards.append(Card(shown(mine.mean, fid), _spread(mine, fid), ", ".join(["FID", *named]), group))
    named = [f"{suite.title('method', g.method)} {shown(value.mean, linear)} %" for g, value in rivals]
    more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
    chance = suite.chance(group.dataset)
    sentence = (
        f"On {words['dataset']}, with augmentation “{words['augmentation']}”, {words['method']} reaches {percent}"
    )
    sentence += " linear top-1" + (f", against {', '.join(named[:NAMED])}{more}" if named else "")
    return Headline(sentence + (f"; chance is {shown(chance, linear)} %." if chance else "."), cards)


def _spread(statistic: Statistic, metric: Metric) -> str:
    return "" if statistic.std is None else f"± {shown(statistic.std, metric, statistic.mean)}"


def show(plan: str | Path) -> None:
    """Print the probes and the generation metrics of a suite as one table on the terminal."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    suite, console = results.read(plan), Console()
    if not console.is_terminal:
        console = Console(width=WIDE)
    columns = {name: suite.metric(name) for name in COLUMNS}
    groups = [group for group in suite.ordered if group in suite.groups]
    rows = [means.row(suite, g, "probe", {k: means.mean(suite, g, m) for k, m in columns.items()}) for g in groups]
    means.mark(rows, columns)
    title = escape(str(suite.plan.get("title", suite.plan["suite"])))
    table = Table(title=title, title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    kinds = [kind for kind in SECTIONS if kind == "method" or len({getattr(g, kind) for g in groups}) > 1]
    for kind in kinds:
        table.add_column(NAMES[kind])
    for heading in ("Seeds", *(metric.brief for metric in columns.values())):
        table.add_column(heading, justify="right", no_wrap=True)

    def text(key: str, cell: Cell) -> str:
        spread = console.width >= WIDE or key in ("linear", "fid")
        words = f"{cell.words} {cell.spread}".rstrip() if spread else cell.words
        return f"[bold green]{words}[/]" if cell.strong else words if cell.statistic else DASH

    for at, row in enumerate(rows):
        names = [escape(row.cells[kind].words.replace("(uses labels)", "(labels)")) for kind in kinds]
        if at and row.group[:2] == rows[at - 1].group[:2]:
            names[: kinds.index("method") + 1] = [""] * (kinds.index("method") + 1)
        elif at:
            table.add_section()
        table.add_row(*names, row.cells["seeds"].words, *(text(key, row.cells[key]) for key in columns))
    console.print(table)
