"""How sure the means are: an interval for each, and paired tests of every row against the main row of its data set."""

from __future__ import annotations

import itertools
import math

from structgan.report.cells import Cell, Heading, Row, Table, figure, lead, naming, numbers, word
from structgan.report.metrics import Metric, shown, signed
from structgan.report.statistics import Paired, holm, interval, paired, summarize, tied
from structgan.report.suite import Group, Suite

TESTED = ("linear", "knn", "fid")
LEVEL = 0.05
FEWEST = 3
"""Seeds below which an interval or a test says nothing; the page leaves such a table out."""
LEAD = lead("dataset", "metric", "method", "augmentation", "variant", blocks=("dataset", "metric"))


def intervals(suite: Suite) -> Table:
    """A row per mean of an evaluation: seeds, mean, standard deviation and 95 % interval."""
    known = [metric for name in suite.metrics if name in suite.plan["evaluations"] for metric in suite.metrics[name]]
    rows, most = [], 0
    for group, metric in ((group, metric) for metric in known for group in suite.ordered):
        if statistic := summarize(suite.values(group, metric).values()):
            low, high = interval(statistic) or (None, None)
            values = {"mean": statistic.mean, "std": statistic.std, "ci_low": low, "ci_high": high}
            words = {key: "" if v is None else shown(v, metric, statistic.mean) for key, v in values.items()}
            cells = {key: figure(value, words[key], group) for key, value in values.items()}
            rows.append(_row(suite, group, metric, "", {"n": word(statistic.n), **cells}))
            most = max(most, statistic.n)
    rows.sort(key=lambda row: suite.rank("dataset", row.group.dataset))
    return Table(
        "statistics", "Statistics over seeds",
        (*LEAD, *numbers(n="Seeds", mean="Mean", std="Std", ci_low="95 % from", ci_high="to")), rows,
        section="statistics", empty="No run is finished yet.", silent=f"fewer than {FEWEST} seeds" * (most < FEWEST),
    )  # fmt: skip


def main_row(suite: Suite, group: Group) -> Group | None:
    """The row that a group is compared with, on its own data set; None where there is none.

    It is the main method's main variant under the same augmentation, or under the weakest that it is planned with.
    """
    mains = [g for g in suite.groups if g[:2] == (group.dataset, suite.main_method) and suite.is_main(g)]
    ordered = sorted(mains, key=lambda g: suite.rank("augmentation", g.augmentation))
    return min(ordered, key=lambda g: (g != group, g.augmentation != group.augmentation), default=None)


def table(suite: Suite) -> Table:
    """Paired tests: a row per configuration and metric, a block per data set and metric."""
    name = suite.title("method", suite.main_method) if suite.main_method else "the main method"
    pairs = [
        ((suite.rank("dataset", group.dataset), group.method == main.method, at), suite.metric(metric), group, main)
        for at, metric in enumerate(TESTED)
        for group in suite.groups
        if (main := main_row(suite, group)) and not (group.method == main.method and suite.is_main(group))
        if all(suite.asked(one, suite.metric(metric).evaluation) for one in (group, main))
    ]
    rows, most = list[Row](), 0
    for key, block in itertools.groupby(sorted(pairs, key=lambda pair: pair[0]), key=lambda pair: pair[0]):
        title, tests = f", variants of {name}" if key[1] else "", [pair[1:] for pair in block]
        found = [paired(*(_known(suite, group, metric) for group in both)) for metric, *both in tests]
        for test, result, p in zip(tests, found, holm([result.p for result in found]), strict=True):
            rows.append(_test(suite, title, *test, result, p))
            most = max(most, result.n)
    against = tuple(f"against_{kind}" for kind in ("method", "augmentation", "variant"))
    headings = (
        Heading("against", "Compared with", csv=against),
        *numbers(shared_seeds="Shared seeds", difference="Difference", ci_low="95 % from", ci_high="to", p="p"),
        *numbers(p_holm="p, Holm"), Heading("tied", "Tie"), Heading("note", "Note", "long"),
    )  # fmt: skip
    return Table(
        "comparisons", f"Paired tests against {name}", (*LEAD, *headings), rows, section="statistics",
        empty=f"No row shares a data set with a row of {name}.",
        silent=f"fewer than {FEWEST} shared seeds" * (most < FEWEST),
    )  # fmt: skip


def _known(suite: Suite, group: Group, metric: Metric) -> dict[int, float]:
    return {seed: value for seed, value in suite.values(group, metric).items() if not math.isnan(value)}


def _test(
    suite: Suite, block: str, metric: Metric, group: Group, main: Group, result: Paired, p_holm: float | None
) -> Row:
    one, two = (summarize(suite.values(each, metric).values()) for each in (group, main))
    tie = one is not None and two is not None and tied(one, two)
    against = suite.title("method", main.method)
    if main.augmentation != group.augmentation:
        against += f", {suite.title('augmentation', main.augmentation)}"
    bounds = {"difference": result.difference, "ci_low": result.low, "ci_high": result.high}
    words = {key: "" if v is None else signed(v, metric, two.mean if two else None) for key, v in bounds.items()}
    chances = {"p": result.p, "p_holm": p_holm}
    texts = {key: "< 0.001" if (p or 0) < 0.001 else f"{p:.3f}" for key, p in chances.items()}
    cells = {
        "against": Cell(against, list(main[1:])),
        "shared_seeds": word(result.n),
        **{key: figure(value, words[key], group) for key, value in bounds.items()},
        **{key: figure(p, texts[key], group, key == "p_holm" and (p or 1) < LEVEL) for key, p in chances.items()},
        "tied": word("≈" if tie else "", "yes" if tie else "no" if one and two else ""),
        "note": word(result.note),
    }
    return _row(suite, group, metric, block, cells)


def _row(suite: Suite, group: Group, metric: Metric, more: str, cells: dict[str, Cell]) -> Row:
    named = naming(suite, group) | {"metric": word(metric.title, metric.name)}
    return Row(f"{suite.title('dataset', group.dataset)}: {metric.title}{more}", named | cells, group)
