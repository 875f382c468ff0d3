"""Means over seeds in tables: the number of a configuration, what is best or tied, what is missing, the notes."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from structgan.report.cells import Cell, Heading, Row, digits, naming, word
from structgan.report.metrics import DASH, Metric, flat, sentence, shown
from structgan.report.results import Group, Suite
from structgan.report.rows import marks
from structgan.report.statistics import tied
from structgan.states import read_state

LAYOUT = ("mean", "std")
SEEDS = Heading("seeds", "Seeds", "number", better=1)


def headings(named: Iterable[Heading], columns: Mapping[str, Metric], layout: Sequence[str]) -> tuple[Heading, ...]:
    """Headings of a table of means; ``layout`` are the suffixes of each mean's csv columns."""
    return (*named, SEEDS, *(heading(key, metric, layout) for key, metric in columns.items()))


def heading(key: str, metric: Metric, layout: Sequence[str], title: str = "") -> Heading:
    """The heading of a column of means."""
    csv = tuple(f"{key}_{part}" for part in layout)
    return Heading(key, title or metric.title, "number", better=metric.sign, csv=csv)


def block(
    suite: Suite, groups: Iterable[Group], columns: Mapping[str, Metric], evaluation: str,
    layout: Sequence[str] = LAYOUT, base: Group | None = None,
    at: Callable[[Group, str], Group] = lambda group, key: group,
) -> list[Row]:  # fmt: skip
    """A row per configuration of a data set: the best means are marked, and those of ``base`` are subtracted.

    Seeds are counted of ``evaluation``, or of the training where it is not asked for. ``at`` gives the configuration
    that a column shows, if it is not that of the row. A difference is of means over the same seeds, or there is none.
    """
    rows = []
    for group in groups:
        planned = len(suite.groups.get(group, []))
        done = len(suite.of(group, evaluation if suite.asked(group, evaluation) else "training"))
        seeds = word(done if done == planned else f"{done}/{planned}", str(done))
        seeds.state = "missing" if done < planned else ""
        means = {key: mean(suite, at(group, key), metric, layout) for key, metric in columns.items()}
        for key, cell in means.items():
            cell.marks += marks(suite, at(group, key)) if at(group, key) != group else ""
        cells = {**naming(suite, group), "seeds": seeds, **means}
        labels = bool(suite.method(group.method).get("uses_labels"))
        rows.append(Row(suite.title("dataset", group.dataset), cells, group, labels))
    for key, metric in columns.items():
        if metric.evaluation != "training":
            _mark([row.cells[key] for row in rows if not row.uses_labels], metric)
        basis = next((row.cells[key] for row in rows if row.group == base), Cell())
        theirs = basis.statistic
        # Seconds depend on the other load on the machine and are not compared.
        for cell in (row.cells[key] for row in rows if row.group != base and metric.name != "seconds"):
            if cell.statistic and theirs and _seeds(suite, metric, cell) == _seeds(suite, metric, basis):
                delta = cell.statistic.mean - theirs.mean
                cell.csv[-1], cell.delta = digits(delta), shown(delta, metric, cell.statistic.mean, "+")
                cell.trend = "even" if tied(cell.statistic, theirs) else "good" if delta * metric.sign > 0 else "bad"
    for row in rows:
        for cell in row.cells.values():
            cell.seeds = "" if cell.seeds == row.cells["seeds"].words else cell.seeds
    return rows


def _seeds(suite: Suite, metric: Metric, cell: Cell) -> set[int]:
    """The seeds that a mean is over."""
    numbers = suite.values(cell.group, metric) if cell.group else {}
    return {seed for seed, value in numbers.items() if not math.isnan(value)}


def mean(suite: Suite, group: Group, metric: Metric, layout: Sequence[str] = LAYOUT) -> Cell:
    """A metric of a configuration."""
    planned, records = len(suite.groups.get(group, [])), suite.of(group, metric.evaluation)
    statistic, spoilt = suite.statistic(group, metric), suite.spoilt(group, metric.evaluation)
    parts = {"mean": digits(statistic.mean), "std": digits(statistic.std)} if statistic else {}
    parts["seeds"] = str(statistic.n if statistic else 0) if planned else ""
    cell = Cell(csv=[parts.get(part, "") for part in layout], group=group, statistic=statistic, metric=metric)
    if statistic:
        cell.words, cell.state = shown(statistic.mean, metric), "value"
        cell.seeds = f"{statistic.n}/{planned}" if statistic.n < planned else ""
        cell.marks = "‡" if any(_unconverged(record, metric) for record in records) else ""
        cell.marks += "†" if spoilt else ""
    elif group in suite.not_applicable:
        cell.words, cell.hint = "n/a", suite.not_applicable[group]
    elif suite.values(group, metric):
        cell.words, cell.state = f"{DASH} {'damaged' if spoilt else 'missing'}", "missing"
    elif planned:
        cell.words, cell.hint = DASH, next((str(r["reason"]) for r in records if r.get("reason")), "")
    return cell


def _unconverged(record: Mapping[str, Any], metric: Metric) -> bool:
    """Whether a solver beside the number, under the same keys but the last, did not converge."""
    above = metric.path.rpartition(".")[0]
    leaves = flat(record["metrics"]) if above else ()
    return any(value is False and key.startswith(f"{above}.") and key.endswith(".converged") for key, value in leaves)


def _mark(cells: Sequence[Cell], metric: Metric) -> None:
    """Mark the best of a column and what is tied with it, among those of which every seed is finished."""
    rivals = [(cell, cell.statistic) for cell in cells if cell.statistic and not cell.seeds]
    if metric.sign and len(rivals) > 1:
        best = max((statistic for _, statistic in rivals), key=lambda one: metric.sign * one.mean)
        for cell, statistic in rivals:
            cell.strong = statistic.mean == best.mean
            cell.marks = ("≈" if not cell.strong and tied(statistic, best) else "") + cell.marks


def notes(suite: Suite, rows: Sequence[Row], evaluation: str, prefixes: Iterable[str] = ()) -> tuple[str, ...]:
    """What is missing, what the marks mean where they occur, and the protocol of each data set."""
    asked, found = [run for run in suite.runs if evaluation in run["evaluations"]], list[str]()
    if missing := [run for run in asked if (run["run"], evaluation) not in suite.records]:
        found.append(
            f"Missing: {len(missing)} of {len(asked)} runs are not finished; seeds read done/planned, and means are of"
            " the finished ones."
        )
        states = [read_state(run, suite.root / run["run"], time.time()) for run in missing]
        if failed := [state.reason for state in states if state.name == "failed"]:
            found.append(f"Failed: {len(failed)} of these, first {failed[0]} (structgan status lists them).")
    if reasons := list(dict.fromkeys(reason for (_, name), reason in suite.damaged.items() if name == evaluation)):
        found.append(f"†: damaged files are not counted, {len(reasons)} in all; first {reasons[0]}.")
    cells = [cell for row in rows for cell in row.cells.values()]
    if any("‡" in cell.marks for cell in cells):
        found.append("‡: a solver stopped at its iteration limit in at least one run.")
    dashes = [(cell.group, cell.hint) for cell in cells if cell.group and cell.words == DASH and cell.hint]
    found += dict.fromkeys(f"{DASH}: {suite.title('method', group.method)}: {hint}." for group, hint in dashes)
    left: dict[tuple[str, ...], list[str]] = {}
    for group, reason in suite.not_applicable.items():
        words = suite.words(group)
        head = f"{words['dataset']}: " if len(suite.plan["datasets"]) > 1 else ""
        left.setdefault((f"{head}{words['method']} ({words['variant']})", reason), []).append(words["augmentation"])
    found += [f"n/a: {who}, augmentation {', '.join(regimes)}: {reason}." for (who, reason), regimes in left.items()]
    if any(row.uses_labels for row in rows):
        found.append("A row that uses labels is a reference: it is never marked as best or tied.")
    return (*found, *protocol_notes(suite, evaluation, prefixes))


def protocol_notes(suite: Suite, evaluation: str, prefixes: Iterable[str] = ("",)) -> Iterator[str]:
    """The protocol of each data set under these first keys, a sentence each."""
    for dataset, found in suite.protocols.items():
        parts = [(prefix, sentence(found.get(evaluation, {}), prefix)) for prefix in prefixes]
        if words := "; ".join(f"{prefix}: {text}" if prefix else text for prefix, text in parts if text):
            yield f"Protocol, {suite.title('dataset', dataset)}: {words}."
