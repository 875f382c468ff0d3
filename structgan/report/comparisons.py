"""How sure the means are: an interval for each, and paired tests of every row against the main row of its data set."""

from __future__ import annotations

import math

from structgan.report.cells import Cell, Heading, Row, Table, figure, lead, naming, word
from structgan.report.metrics import Metric, shown, signed
from structgan.report.statistics import Paired, holm, interval, paired, summarise, tied
from structgan.report.suite import SECTIONS, Group, Suite

TESTED = ("linear", "knn", "fid")
LEVEL = 0.05
FEWEST = 3
"""Seeds below which an interval or a test says nothing; the page leaves such a table out."""
NAMES = ("dataset", "metric", "method", "augmentation", "variant")
INTERVALS = (
    "Seeds: finished seeds behind a mean. Std: sample standard deviation (ddof = 1) over the seeds; it shows how much "
    "runs vary. 95 %: Student's t interval of the mean, mean ± t(0.975, n−1) × std / √n; it shows how well the mean is"
    " known if the values of the seeds are normal. It is wide with two seeds (t = 12.7) and three (t = 4.3), it is not"
    " cut off at 0 or 100 %, and it does not exist with one seed. It covers what the training seed changes, not the "
    "choice of the test images."
)
TESTS = (
    "Difference: mean over the shared seeds of the row minus the row that it is compared with, in points for "
    "accuracies; a smaller FID is better. 95 %: Student's t interval of the paired difference. p: two-sided paired "
    "t-test over the shared seeds (scipy.stats.ttest_rel); it assumes normal differences. p, Holm: p corrected by "
    "Holm's step-down method for all tests of its block; bold below 0.05. A block is one metric on one data set, "
    "reference rows included; the variants of the main method have a block of their own. ≈: the two means differ by at"
    " most one pooled standard deviation, which describes the spread and is not a test. There is no exact sign or "
    "Wilcoxon test: with fewer than six seeds its smallest p, 2/2^n, is above 0.05 (0.25 with three seeds). With two "
    "or three seeds the t-test, too, only finds differences that are large compared with their spread. Two methods "
    "that start from the same seed share a number and no weights, so that pairing may gain little."
)


def intervals(suite: Suite) -> Table:
    """A row per mean of an evaluation: seeds, mean, standard deviation and 95 % interval."""
    rows = []
    for name in (name for name in suite.metrics if name in suite.plan["evaluations"]):
        for metric in suite.metrics[name]:
            for group in suite.ordered:
                if statistic := summarise(suite.values(group, metric).values()):
                    low, high = interval(statistic) or (None, None)
                    values = {"mean": statistic.mean, "std": statistic.std, "ci_low": low, "ci_high": high}
                    words = {
                        k: shown(v, metric, statistic.mean).replace("-", "−")
                        for k, v in values.items()
                        if v is not None
                    }
                    numbers = {key: figure(value, words.get(key, ""), group) for key, value in values.items()}
                    rows.append(_row(suite, group, metric, "", {"n": word(statistic.n), **numbers}))
    rows.sort(key=lambda row: suite.rank("dataset", row.group.dataset))
    headings = (
        Heading("n", "Seeds", "number"), Heading("mean", "Mean", "number"), Heading("std", "Std", "number"),
        Heading("ci_low", "95 % from", "number"), Heading("ci_high", "to", "number"),
    )  # fmt: skip
    few = all(int(row.cells["n"].words) < FEWEST for row in rows)
    return Table(
        "statistics", "Statistics over seeds", (*lead(*NAMES, blocks=NAMES[:2]), *headings), rows, INTERVALS,
        section="statistics", empty="No run is finished yet.", silent="fewer than 3 seeds" if few else "",
    )  # fmt: skip


def main_row(suite: Suite, group: Group) -> Group | None:
    """The row that a group is compared with, on its own data set; None for a main row itself, and where there is none.

    It is the main method's main variant under the same augmentation, or under the weakest that it is planned with.
    """
    mains = [g for g in suite.groups if g[:2] == (group.dataset, suite.main_method) and suite.is_main(g)]
    if not mains or group in mains:
        return None
    return min(mains, key=lambda g: (g.augmentation != group.augmentation, suite.rank("augmentation", g.augmentation)))


def table(suite: Suite) -> Table:
    """Paired tests: a row per configuration and metric, a block per data set and metric."""
    blocks: dict[tuple[str, bool, Metric], list[tuple[Group, Group]]] = {}
    for metric in map(suite.metric, TESTED):
        for group in suite.groups:
            main = main_row(suite, group)
            if main is not None and all(suite.asked(one, metric.evaluation) for one in (group, main)):
                blocks.setdefault((group.dataset, group.method == main.method, metric), []).append((group, main))
    rows: list[Row] = []
    title = suite.title("method", suite.main_method) if suite.main_method else "the main method"
    for dataset, own, metric in sorted(blocks, key=lambda key: (suite.rank("dataset", key[0]), key[1])):
        block = f", variants of {title}" if own else ""
        pairs = blocks[dataset, own, metric]
        results = [paired(by_seed(suite, one, metric), by_seed(suite, two, metric)) for one, two in pairs]
        corrected = holm([result.p for result in results])
        rows += [
            _test(suite, block, *pair, metric, *found)
            for pair, *found in zip(pairs, results, corrected, strict=True)  # type: ignore[arg-type]
        ]
    headings = (
        Heading("against", "Compared with", csv=tuple(f"against_{kind}" for kind in tuple(SECTIONS)[1:])),
        Heading("shared_seeds", "Shared seeds", "number"), Heading("difference", "Difference", "number"),
        Heading("ci_low", "95 % from", "number"), Heading("ci_high", "to", "number"), Heading("p", "p", "number"),
        Heading("p_holm", "p, Holm", "number"), Heading("tied", "Tie"), Heading("note", "Note", "long"),
    )  # fmt: skip
    few = all(int(row.cells["shared_seeds"].words) < FEWEST for row in rows)
    return Table(
        "comparisons", f"Paired tests against {title}", (*lead(*NAMES, blocks=NAMES[:2]), *headings), rows,
        TESTS, section="statistics", empty=f"No row shares a data set with a row of {title}.",
        silent="fewer than 3 shared seeds" if few else "",
    )  # fmt: skip


def by_seed(suite: Suite, group: Group, metric: Metric) -> dict[int, float]:
    """A configuration's numbers by seed, of the seeds that have one."""
    return {seed: value for seed, value in suite.values(group, metric).items() if not math.isnan(value)}


def _test(
    suite: Suite, block: str, group: Group, main: Group, metric: Metric, result: Paired, p_holm: float | None
) -> Row:
    one, two = (summarise(by_seed(suite, each, metric).values()) for each in (group, main))
    tie = one is not None and two is not None and tied(one, two)
    against = suite.title("method", main.method)
    if main.augmentation != group.augmentation:
        against += f", {suite.title('augmentation', main.augmentation)}"
    bounds = {"difference": result.difference, "ci_low": result.low, "ci_high": result.high}
    beside = two.mean if two else None
    cells = {
        "against": Cell(against, list(main[1:])),
        "shared_seeds": word(result.n),
        **{key: figure(v, "" if v is None else signed(v, metric, beside), group) for key, v in bounds.items()},
        "p": figure(result.p, _chance(result.p), group),
        "p_holm": figure(p_holm, _chance(p_holm), group, p_holm is not None and p_holm < LEVEL),
        "tied": word("≈" if tie else "", "yes" if tie else "no" if one and two else ""),
        "note": word(result.note),
    }
    return _row(suite, group, metric, block, cells)


def _row(suite: Suite, group: Group, metric: Metric, more: str, cells: dict[str, Cell]) -> Row:
    named = naming(suite, group) | {"metric": word(metric.title, metric.name)}
    return Row(f"{suite.title('dataset', group.dataset)}: {metric.title}{more}", named | cells, group)


def _chance(p: float | None) -> str:
    return "" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"
