"""Means over seeds in tables: the number of a configuration, what is best or tied, what is missing, the notes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from structgan.report.cells import Cell, Heading, Row, digits, naming, word
from structgan.report.metrics import DASH, Metric, flat, shown, signed
from structgan.report.protocols import sentence
from structgan.report.statistics import summarize, tied
from structgan.report.suite import Group, Suite

LAYOUT = ("mean", "std")
SEEDS = Heading("seeds", "Seeds", "number", better=1)


def heading(key: str, metric: Metric, layout: Sequence[str] = LAYOUT, title: str = "") -> Heading:
    """The heading of a column of means; ``layout`` are the suffixes of its csv columns."""
    csv = tuple(f"{key}_{part}" for part in layout)
    return Heading(key, title or metric.title, "number", better=metric.sign, csv=csv)


def mean(suite: Suite, group: Group, metric: Metric, layout: Sequence[str] = LAYOUT, values: Any = None) -> Cell:
    """A metric of a configuration; ``values`` where they are not the suite's numbers of the metric."""
    planned, records = len(suite.groups.get(group, [])), suite.of(group, metric.evaluation)
    found = list(suite.values(group, metric).values()) if values is None else values
    statistic = summarize(found)
    parts = {"mean": digits(statistic.mean), "std": digits(statistic.std)} if statistic else {}
    parts["seeds"] = str(statistic.n if statistic else 0) if planned else ""
    cell = Cell(csv=[parts.get(part, "") for part in layout], group=group, statistic=statistic, metric=metric)
    if statistic:
        cell.words, cell.state = shown(statistic.mean, metric), "value"
        cell.seeds = f"{statistic.n}/{planned}" if statistic.n < planned and "seeds" in layout else ""
        cell.marks = "‡" if any(_unconverged(record, metric) for record in records) else ""
    elif group in suite.not_applicable:
        cell.words, cell.hint = "n/a", suite.not_applicable[group]
    elif found or (values is not None and not records):
        cell.words, cell.state = f"{DASH} missing", "missing"
    elif planned:
        cell.words, cell.hint = DASH, next((str(r["reason"]) for r in records if r.get("reason")), "")
    return cell


def _unconverged(record: Mapping[str, Any], metric: Metric) -> bool:
    """Whether a solver beside the number, under the same keys but the last, did not converge."""
    above = metric.path.rpartition(".")[0]
    leaves = flat(record["metrics"]) if above else ()
    return any(value is False and key.startswith(f"{above}.") and key.endswith(".converged") for key, value in leaves)


def row(suite: Suite, group: Group, evaluation: str, cells: Mapping[str, Cell]) -> Row:
    """A row with its seeds: those of an evaluation, or of the training where the evaluation is not asked for."""
    planned = len(suite.groups.get(group, []))
    done = len(suite.of(group, evaluation if suite.asked(group, evaluation) else "training"))
    seeds = word(done if done == planned else f"{done}/{planned}", str(done))
    seeds.state = "missing" if done < planned else ""
    labels = bool(suite.method(group.method).get("uses_labels"))
    named = {**naming(suite, group), "seeds": seeds}
    return Row(suite.title("dataset", group.dataset), {**named, **cells}, group, labels)


def mark(rows: Sequence[Row], columns: Mapping[str, Metric]) -> None:
    """Mark the best mean of each column and data set, and what is tied; rows that use labels do not compete."""
    for dataset in {row.group.dataset for row in rows}:
        for key, metric in columns.items():
            block = [row.cells[key] for row in rows if row.group.dataset == dataset and not row.uses_labels]
            rivals = [(cell, cell.statistic) for cell in block if cell.statistic]
            best = max((s for _, s in rivals), key=lambda s: metric.sign * s.mean, default=None)
            for cell, statistic in rivals if best and metric.sign and len(rivals) > 1 else ():
                cell.strong = statistic.mean == best.mean  # type: ignore[union-attr]
                cell.marks = ("≈" if not cell.strong and tied(statistic, best) else "") + cell.marks  # type: ignore[arg-type]


def compare(rows: Sequence[Row], columns: Mapping[str, Metric], base: Row | None) -> None:
    """Give each number its difference to that of a row of the same block, which has none to itself."""
    for row in (row for row in rows if base is not None and row is not base):
        for key, metric in columns.items():
            cell, mine, theirs = row.cells[key], row.cells[key].statistic, base.cells[key].statistic if base else None
            if mine and theirs:
                delta = mine.mean - theirs.mean
                cell.csv[-1], cell.delta = digits(delta), signed(delta, metric, mine.mean)
                cell.trend = "even" if tied(mine, theirs) else "good" if delta * metric.sign > 0 else "bad"


def notes(suite: Suite, rows: Sequence[Row], evaluation: str, prefixes: Iterable[str] = ()) -> tuple[str, ...]:
    """What is missing, what the marks mean where they occur, and the protocol of each data set."""
    return (*_notes(suite, rows, evaluation), *protocol_notes(suite, evaluation, prefixes))


def _notes(suite: Suite, rows: Sequence[Row], evaluation: str) -> Iterator[str]:
    asked = [run for run in suite.runs if evaluation in run["evaluations"]]
    if missing := sum((run["run"], evaluation) not in suite.records for run in asked):
        yield f"Missing: {missing} of {len(asked)} runs are not finished; seeds read done/planned."
    cells = [cell for row in rows for cell in row.cells.values()]
    if any("‡" in cell.marks for cell in cells):
        yield "‡: a solver stopped at its iteration limit in at least one run."
    dashes = [cell for cell in cells if cell.group and cell.words == DASH and cell.hint]
    hints = {(suite.title("method", cell.group.method), cell.hint): 0 for cell in dashes if cell.group}
    yield from (f"{DASH}: {method}: {hint}." for method, hint in hints)
    left: dict[tuple[str, ...], list[str]] = {}
    for group, reason in suite.not_applicable.items():
        words = suite.words(group)
        head = f"{words['dataset']}: " if len(suite.plan["datasets"]) > 1 else ""
        left.setdefault((head, words["method"], words["variant"], reason), []).append(words["augmentation"])
    for (head, method, variant, reason), regimes in left.items():
        yield f"n/a: {head}{method} ({variant}), augmentation {', '.join(regimes)}: {reason}."
    if any(row.uses_labels for row in rows):
        yield "A row that uses labels is a reference: it is never marked as best or tied."


def protocol_notes(suite: Suite, evaluation: str, prefixes: Iterable[str] = ("",)) -> Iterator[str]:
    """The protocol of each data set under these first keys, a sentence each."""
    for dataset, found in suite.protocols.items():
        parts = [(prefix, sentence(found.get(evaluation, {}), prefix)) for prefix in prefixes]
        if words := "; ".join(f"{prefix}: {text}" if prefix else text for prefix, text in parts if text):
            yield f"Protocol, {suite.title('dataset', dataset)}: {words}."
