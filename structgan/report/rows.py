"""What holds of a whole row: the row that it is compared with, the marks of its method's name, and their footnotes."""

import functools
from collections.abc import Iterator, Sequence

from structgan.report import curves
from structgan.report.results import SECTIONS, Group, Suite
from structgan.report.statistics import Statistic, summarize

RISING, OTHER = "↗", "§"
RISE = 0.01
"""A row has not converged if the last doubling of its training raises the top-1 of its curve by more than this."""


def main_row(suite: Suite, group: Group) -> Group | None:
    """The row that a group is compared with, on its own data set; None where there is none.

    It is the main method's main variant under the same augmentation, or under the first that it is planned with.
    """
    mains = [g for g in suite.groups if g[:2] == (group.dataset, suite.main_method) and suite.is_main(g)]
    return min(mains, key=lambda g: g.augmentation != group.augmentation, default=None)


@functools.lru_cache(maxsize=4)
def rises(suite: Suite) -> dict[Group, Statistic]:
    """What the last doubling of its training adds to the top-1 of each row's curve. A row without a curve has none."""
    top1 = curves.load(suite).sort_values("step").groupby([*SECTIONS, "seed"])["top1"]
    gains = top1.agg(lambda points: points.diff().iloc[-1]).groupby(list(SECTIONS))
    found = {Group(*map(str, key)): summarize(values) for key, values in gains}
    return {group: statistic for group, statistic in found.items() if statistic}


def rising(suite: Suite, group: Group) -> bool:
    """Whether a row has not converged, in the mean over its seeds."""
    rise = rises(suite).get(group)
    return rise is not None and rise.mean > RISE + 1e-9


def encoder(suite: Suite, group: Group) -> dict[str, int | None]:
    """The size of a row's encoder, as far as a probe recorded it."""
    probe = next(iter(suite.of(group, "probe")), {})
    return {"parameters": probe.get("encoder", {}).get("parameters"), "features": probe.get("feature_dim")}


def marks(suite: Suite, group: Group) -> str:
    """``↗`` for a row that has not converged, ``§`` for one whose encoder has another size than the main row's."""
    main = main_row(suite, group)
    own, theirs = encoder(suite, group), encoder(suite, main or group)
    differs = any(None not in (own[key], theirs[key]) and own[key] != theirs[key] for key in own)
    return RISING * rising(suite, group) + OTHER * differs


def footnotes(suite: Suite, marked: Sequence[tuple[Group, str]]) -> Iterator[str]:
    """What the marks of a table's cells mean, each with its configuration: a sentence for each mark that occurs."""
    if any(RISING in found for _, found in marked):
        points = f"{100 * RISE:g} point"
        yield (
            f"{RISING}: not converged; the second half of its training still raises its curve by more than {points} in"
            " the mean over seeds; Rise of the curve, in the table of statistics, says how sure that is."
        )
    others: dict[str, dict[str, None]] = {}
    for group in (group for group, found in marked if OTHER in found):
        main, words = main_row(suite, group) or group, suite.words(group)
        name = words["method"] if suite.is_main(group) else f"{words['method']} ({words['variant']})"
        head = f"{suite.words(main)['method']}: {_size(suite, main)}"
        others.setdefault(head, {})[f"{name}: {_size(suite, group)}"] = None
    for head, found in others.items():
        yield f"{OTHER}: another encoder than the main row's. {head}. {'. '.join(found)}."


def _size(suite: Suite, group: Group) -> str:
    return ", ".join(f"{count:,} {key}" for key, count in encoder(suite, group).items() if count is not None)
