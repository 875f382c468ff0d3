"""Paired tests between rows that share seeds: every row against the main row of its data set."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from structgan.report import sheets
from structgan.report.cells import Column, summarise, tied
from structgan.report.layouts import FID, PROBES
from structgan.report.markup import signed
from structgan.report.records import Group, Suite, rank
from structgan.report.statistics import CONFIDENCE, LEAD, lead

COLUMNS = (PROBES[0], PROBES[3], FID)
LEVEL = 0.05
SAME = 1e-9
"""Differences that spread less than this share of the values are equal but for rounding: nothing is left to test."""
FIELDS = (
    *LEAD,
    sheets.Field("against_method", "Against"),
    sheets.Field("against_augmentation", "", place="csv"),
    sheets.Field("against_variant", "", place="csv"),
    sheets.Field("shared_seeds", "Shared seeds", "number"),
    sheets.Field("difference", "Difference", "number"),
    sheets.Field("ci_low", "95 % from", "number"),
    sheets.Field("ci_high", "to", "number"),
    sheets.Field("p", "p", "number"),
    sheets.Field("p_holm", "p, Holm", "number"),
    sheets.Field("tied", "Tie"),
    sheets.Field("note", "Note", "long"),
)
CAPTION = (
    "Difference: mean over the shared seeds of the row minus the row that it stands against, in points for "
    "accuracies; a smaller FID is better. 95 %: Student's t interval of the paired difference. p: two-sided paired "
    "t-test over the shared seeds (scipy.stats.ttest_rel), which takes the differences for normal. p, Holm: p "
    "corrected by Holm's step-down method for all tests of its block, one metric on one data set, reference rows "
    "counted, the main method's own variants in a block apart; bold below 0.05. ≈: "
    "the two means lie within one pooled standard deviation, a description of the spread and no test. An exact sign "
    "or Wilcoxon test cannot reach 0.05 with fewer than six seeds (its smallest p is 2/2^n, 0.25 with three), so that "
    "none is shown; with two or three seeds the t-test, too, only finds differences that are large beside their "
    "spread. A method that starts from the same seed shares a number and no weights, so that pairing may take out "
    "little."
)


@dataclass(frozen=True)
class Paired:
    """Two rows over the seeds that both have: difference of means, its 95 % interval, p; None where undefined."""

    n: int
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    note: str = ""


def paired(one: Mapping[int, float], two: Mapping[int, float]) -> Paired:
    """Paired t-test of ``one`` minus ``two``, values by seed, over the seeds that both have.

    t = d̄ / (s_d / √n) on n−1 degrees of freedom, for the differences d; the interval is d̄ ± t(0.975, n−1)·s_d/√n.
    """
    from scipy import stats

    seeds = sorted(set(one) & set(two))
    if len(seeds) < 2:
        return Paired(len(seeds), note="fewer than 2 shared seeds")
    first, second = [one[seed] for seed in seeds], [two[seed] for seed in seeds]
    differences = [a - b for a, b in zip(first, second, strict=True)]
    mean = math.fsum(differences) / len(seeds)
    if max(differences) - min(differences) <= SAME * max(map(abs, [*first, *second])):
        return Paired(len(seeds), mean, note="every seed differs by the same: no test")
    result = stats.ttest_rel(first, second)
    bounds = result.confidence_interval(confidence_level=CONFIDENCE)
    return Paired(len(seeds), mean, float(bounds.low), float(bounds.high), float(result.pvalue))


def holm(values: Sequence[float | None]) -> list[float | None]:
    """p corrected for testing several times: Holm (1979), Scandinavian Journal of Statistics 6, 65-70.

    In ascending order, the i-th of m becomes the largest of min(1, (m−j+1)·p_j) over j ≤ i. SciPy corrects the false
    discovery rate only. What is None was not tested and is not counted.
    """
    tested = sorted((value, place) for place, value in enumerate(values) if value is not None)
    corrected: list[float | None] = [None] * len(values)
    largest = 0.0
    for done, (value, place) in enumerate(tested):
        largest = max(largest, min(1.0, (len(tested) - done) * value))
        corrected[place] = largest
    return corrected


def is_main(suite: Suite, group: Group) -> bool:
    """Whether a row is the main method's main variant, under whatever regime."""
    return group.method == suite.main_method and group.variant == suite.main_variant(group.method)


def main_row(suite: Suite, group: Group) -> Group | None:
    """The row that a group stands against, on its own data set; None for a main row itself, and where there is none.

    It is the main method's main variant under the same regime, or under the weakest regime that it is planned in.
    """
    mains = [other for other in suite.groups if other.dataset == group.dataset and is_main(suite, other)]
    if not mains or group in mains:
        return None

    def distance(other: Group) -> tuple[bool, int]:
        return other.augmentation != group.augmentation, rank(suite.plan, "augmentation", other.augmentation)

    return min(mains, key=distance)


def by_seed(suite: Suite, group: Group, metric: str) -> dict[int, float]:
    """A group's numbers by training seed, where there is one; stale ones are never tested."""
    states = suite.values(group, "fidelity" if metric == FID.key else "probe")
    rows = zip(suite.values(group, "seed"), suite.values(group, metric), states, strict=True)
    return {int(seed): float(value) for seed, value, state in rows if state == "finished" and not math.isnan(value)}


def build(suite: Suite) -> sheets.Sheet:
    """A line per row and metric, a block per data set and metric; variants of the main method have their own blocks."""
    blocks: dict[tuple[str, bool, Column], list[tuple[Group, Group]]] = {}
    for column in COLUMNS:
        for group in suite.groups:
            main = main_row(suite, group)
            if main is not None and (column != FID or (suite.samples(group.method) and suite.samples(main.method))):
                blocks.setdefault((group.dataset, group.method == main.method, column), []).append((group, main))
    lines: list[sheets.Line] = []
    for dataset, own, column in sorted(blocks, key=lambda key: (rank(suite.plan, "dataset", key[0]), key[1])):
        words = f"{suite.title('dataset', dataset)}: {column.title}"
        words += f", variants of {suite.title('method', suite.main_method)}" if own else ""
        lines += _block(suite, words, column, blocks[dataset, own, column])
    title = suite.title("method", suite.main_method) if suite.main_method else "the main method"
    empty = f"No row shares a data set with a row of {title}."
    return sheets.Sheet("comparisons", f"Paired tests against {title}", FIELDS, tuple(lines), CAPTION, empty=empty)


def _block(suite: Suite, words: str, column: Column, pairs: list[tuple[Group, Group]]) -> list[sheets.Line]:
    results = [paired(by_seed(suite, one, column.key), by_seed(suite, two, column.key)) for one, two in pairs]
    corrected = holm([result.p for result in results])
    return [
        _line(suite, words, *pair, column, result, p) for pair, result, p in zip(pairs, results, corrected, strict=True)
    ]


def _line(
    suite: Suite, block: str, group: Group, main: Group, column: Column, result: Paired, holm_p: float | None
) -> sheets.Line:
    one, two = (summarise(by_seed(suite, each, column.key).values()) for each in (group, main))
    tie = one is not None and two is not None and tied(one, two)
    against = suite.title("method", main.method)
    if main.augmentation != group.augmentation:
        against += f", {suite.title('augmentation', main.augmentation)}"
    beside = two.mean if two else None
    bounds = {
        key: sheets.number(value, "" if value is None else signed(value, column, beside))
        for key, value in (("difference", result.difference), ("ci_low", result.low), ("ci_high", result.high))
    }
    chances = {key: sheets.number(p, _chance(p)) for key, p in (("p", result.p), ("p_holm", holm_p))}
    if holm_p is not None and holm_p < LEVEL:
        chances["p_holm"] = replace(chances["p_holm"], strong=True)
    entries = {
        **lead(suite, group, column),
        "against_method": sheets.Entry(against, main.method),
        "against_augmentation": sheets.Entry(main.augmentation),
        "against_variant": sheets.Entry(main.variant),
        "shared_seeds": sheets.Entry(str(result.n)),
        **bounds,
        **chances,
        "tied": sheets.Entry("≈" if tie else "", "yes" if tie else "no" if one and two else ""),
        "note": sheets.Entry(result.note),
    }
    return sheets.Line(block, entries, group)


def _chance(p: float | None) -> str:
    return "" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"
