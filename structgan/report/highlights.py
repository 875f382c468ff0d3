"""The page's first lines: what the suite's own method reaches without help, and how far the others are, computed."""

from __future__ import annotations

from dataclasses import dataclass

from structgan.report.cells import Column, Statistic, pooled_std, summarise
from structgan.report.layouts import FID, PROBES
from structgan.report.markup import shown, signed
from structgan.report.records import Group, Suite

NAMED = 4


@dataclass(frozen=True)
class Card:
    """A key number: the figure itself, its spread, what it is, the colour of its method, the group it comes from."""

    figure: str
    spread: str
    words: str
    method: str
    group: Group


@dataclass(frozen=True)
class Headline:
    """The key numbers of one data set and the sentence that they make."""

    dataset: str
    sentence: str
    cards: tuple[Card, ...]


def headlines(suite: Suite) -> list[Headline]:
    """One per data set in which the suite's own method has a number; the weakest regime that it has."""
    found = []
    for dataset in suite.plan["datasets"]:
        own = [
            group
            for group in suite.ordered
            if group.dataset == dataset
            and suite.method(group.method).get("kind") == "method"
            and group.variant == suite.main_variant(group.method)
            and _linear(suite, group)
        ]
        if own:
            found.append(_headline(suite, own[0]))
    return found


def _linear(suite: Suite, group: Group) -> Statistic | None:
    return summarise(suite.values(group, "linear"))


def _fid(suite: Suite, group: Group) -> Statistic | None:
    return summarise(suite.values(group, "fid")) if suite.samples(group.method) else None


def _rivals(suite: Suite, group: Group) -> list[tuple[Group, Statistic]]:
    """Every other method that uses no labels, the contrast first, then the best.

    All under the same regime; a reference under the only regime it has.
    """
    found = []
    for key in suite.plan["methods"]:
        if key == group.method or suite.method(key).get("uses_labels"):
            continue
        other = Group(group.dataset, key, group.augmentation, suite.main_variant(key))
        if other not in suite.groups and suite.method(key).get("kind") == "reference":
            other = next((one for one in suite.groups if one.dataset == group.dataset and one.method == key), other)
        if statistic := _linear(suite, other):
            found.append((other, statistic))
    return sorted(found, key=lambda entry: (entry[0].method != suite.contrast, -entry[1].mean))


def _headline(suite: Suite, group: Group) -> Headline:
    column, own = PROBES[0], _linear(suite, group)
    assert own is not None
    title, regime = suite.title("method", group.method), suite.title("augmentation", group.augmentation)
    seeds = f"{own.n} seed{'s' if own.n > 1 else ''}"
    cards = [
        Card(
            f"{shown(own.mean, column)} %", _spread(own, column), f"linear top-1, {title}, {seeds}", group.method, group
        )
    ]
    rivals = _rivals(suite, group)
    for other, statistic in rivals[:3]:
        noise = pooled_std(own, statistic)
        spread = f"± {shown(noise, column)}" if noise is not None else ""
        words = f"points over {suite.title('method', other.method)} ({shown(statistic.mean, column)} %)"
        if statistic.mean > own.mean:
            words = words.replace("points over", "points against")
        cards.append(Card(signed(own.mean - statistic.mean, column), spread, words, other.method, other))
    if fid := _fid(suite, group):
        others = [(entry, value) for entry, _ in rivals if (value := _fid(suite, entry))]
        words = "FID" + (
            ", " + ", ".join(f"{suite.title('method', g.method)} {shown(v.mean, FID)}" for g, v in others[:NAMED])
        )
        cards.append(Card(shown(fid.mean, FID), _spread(fid, FID), words.rstrip(", "), group.method, group))
    told = ", ".join(f"{suite.title('method', g.method)} {shown(v.mean, column)} %" for g, v in rivals[:NAMED])
    told = f"against {told}" if told else ""
    told += f" and {len(rivals) - NAMED} more" if len(rivals) > NAMED else ""
    chance = suite.chance(group.dataset)
    tail = "; ".join(
        part for part in (told, f"chance is {shown(chance, column)} %" if chance is not None else "") if part
    )
    dataset = suite.title("dataset", group.dataset)
    sentence = f"On {dataset}, with augmentation “{regime}”, {title} reaches {shown(own.mean, column)} % linear top-1"
    return Headline(dataset, f"{sentence}, {tail}." if tail else f"{sentence}.", tuple(cards))


def _spread(statistic: Statistic, column: Column) -> str:
    return "" if statistic.std is None else f"± {shown(statistic.std, column, statistic.mean)}"
