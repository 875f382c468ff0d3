"""Statistics over seeds: means and deviations, intervals, paired tests, and Holm's correction."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from scipy import stats

SAME = 1e-9
"""Differences that spread less than this share of the values are equal but for rounding and cannot be tested."""


class Statistic(NamedTuple):
    """Mean and sample standard deviation (ddof = 1; None with one value) over ``n`` seeds."""

    mean: float
    std: float | None
    n: int


def summarize(values: Iterable[float]) -> Statistic | None:
    """Statistic of the values that are numbers; None where there is none. Sums are exact: order does not matter."""
    found = [float(value) for value in values if not math.isnan(value)]
    std = statistics.stdev(found) if len(found) > 1 else None
    return Statistic(math.fsum(found) / len(found), std, len(found)) if found else None


def pooled_std(one: Statistic, two: Statistic) -> float | None:
    """√(((n₁−1)s₁² + (n₂−1)s₂²) / (n₁+n₂−2)); None where neither has two seeds."""
    freedom = one.n + two.n - 2
    squares = sum((entry.n - 1) * (entry.std or 0.0) ** 2 for entry in (one, two))
    return math.sqrt(squares / freedom) if freedom > 0 else None


def tied(one: Statistic, two: Statistic) -> bool:
    """Whether two means differ by at most one pooled standard deviation; without one, whether they are equal."""
    return abs(one.mean - two.mean) <= (pooled_std(one, two) or 0.0)


def interval(statistic: Statistic) -> tuple[float | None, float | None]:
    """Student's t interval of a mean at 95 %: mean ± t(0.975, n−1)·std/√n; None with one seed."""
    if statistic.std is None:
        return None, None
    half = float(stats.t.ppf(0.975, statistic.n - 1)) * statistic.std / math.sqrt(statistic.n)
    return statistic.mean - half, statistic.mean + half


class Paired(NamedTuple):
    """Difference of two means over ``n`` shared seeds, its 95 % interval and p; None where undefined."""

    n: int
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    note: str = ""


def paired(one: Mapping[int, float], two: Mapping[int, float]) -> Paired:
    """Paired t-test of ``one`` minus ``two``, values by seed, over the seeds of which both have a number.

    t = d̄ / (s_d / √n) on n−1 degrees of freedom, for the differences d; the interval is d̄ ± t(0.975, n−1)·s_d/√n.
    """
    seeds = [seed for seed in sorted(set(one) & set(two)) if not math.isnan(one[seed] - two[seed])]
    if len(seeds) < 2:
        return Paired(len(seeds), note="fewer than 2 shared seeds")
    first, second = [one[seed] for seed in seeds], [two[seed] for seed in seeds]
    differences = [a - b for a, b in zip(first, second, strict=True)]
    mean = math.fsum(differences) / len(seeds)
    if max(differences) - min(differences) <= SAME * max(map(abs, [*first, *second])):
        return Paired(len(seeds), mean, note="every seed differs by the same: no test")
    result = stats.ttest_rel(first, second)
    bounds = result.confidence_interval(confidence_level=0.95)
    return Paired(len(seeds), mean, float(bounds.low), float(bounds.high), float(result.pvalue))


def holm(values: Sequence[float | None]) -> list[float | None]:
    """p-values corrected for several tests: Holm (1979), Scandinavian Journal of Statistics 6, 65-70.

    In ascending order, the i-th of m becomes the largest of min(1, (m−j+1)·p_j) over j ≤ i. None was not tested, and is
    counted in m all the same: a test that could not be made does not make the others surer.
    """
    tested = sorted((value, place) for place, value in enumerate(values) if value is not None)
    corrected, largest = dict.fromkeys(range(len(values))), 0.0
    for done, (value, place) in enumerate(tested):
        corrected[place] = largest = max(largest, min(1.0, (len(values) - done) * value))
    return list(corrected.values())
