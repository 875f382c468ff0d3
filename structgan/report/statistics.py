"""How sure the means are: number of seeds, sample standard deviation and a 95 % interval of every mean of a suite."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from structgan.report import sheets
from structgan.report.cells import Column, Row, Statistic, Table
from structgan.report.markup import shown
from structgan.report.records import Group, Suite, rank

CONFIDENCE = 0.95
LEAD = (
    sheets.Field("dataset", "Data set", place="block"),
    sheets.Field("metric", "Metric", place="block"),
    sheets.Field("method", "Method"),
    sheets.Field("augmentation", "Augmentation"),
    sheets.Field("variant", "Variant"),
)
"""The columns that say what a line is about."""
FIELDS = (
    *LEAD,
    sheets.Field("n", "Seeds", "number"),
    sheets.Field("mean", "Mean", "number"),
    sheets.Field("std", "Std", "number"),
    sheets.Field("ci_low", "95 % from", "number"),
    sheets.Field("ci_high", "to", "number"),
)
CAPTION = (
    "n: finished seeds behind a mean. Std: sample standard deviation (ddof = 1) over the seeds, how much a run "
    "varies. 95 %: Student's t interval of the mean over seeds, mean ± t(0.975, n−1) × std / √n, how well the mean is "
    "known if the seeds' values are normal; it is wide with two seeds (t = 12.7) and three (t = 4.3), is not cut off "
    "at 0 or 100 %, and does not exist with one. It covers what the training seed changes, not the choice of the test "
    "images."
)


def interval(statistic: Statistic) -> tuple[float, float] | None:
    """Student's t interval of a mean at 95 %: mean ± t(0.975, n−1)·std/√n; None with one seed."""
    from scipy import stats

    if statistic.std is None or statistic.n < 2:
        return None
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, statistic.n - 1)) * statistic.std / math.sqrt(statistic.n)
    return statistic.mean - half, statistic.mean + half


def lead(suite: Suite, group: Group, column: Column) -> dict[str, sheets.Entry]:
    """The cells of ``LEAD``."""
    words = {kind: suite.title(kind, key) for kind, key in group._asdict().items()}
    if suite.method(group.method).get("uses_labels"):
        words["method"] += " (uses labels)"
    found = {kind: sheets.Entry(words[kind], key) for kind, key in group._asdict().items()}
    return found | {"metric": sheets.Entry(column.title, column.key)}


def build(suite: Suite, tables: Mapping[str, Table]) -> sheets.Sheet:
    """A line per mean of the tables that have a row per configuration."""
    lines: list[sheets.Line] = []
    seen: set[str] = set()
    for table in tables.values():
        if set(table.lead) != set(Group._fields) or table.layout != ("mean", "std"):
            continue
        for column in table.columns:
            if column.key not in seen:
                lines += [line for row in table.rows if (line := _line(suite, row, column))]
            seen.add(column.key)
    lines.sort(key=lambda line: rank(suite.plan, "dataset", line.group.dataset))
    empty = "No run is finished yet."
    return sheets.Sheet("statistics", "Statistics over seeds", FIELDS, tuple(lines), CAPTION, empty=empty)


def _line(suite: Suite, row: Row, column: Column) -> sheets.Line | None:
    cell, group = row.cells[column.key], Group(**row.keys)
    statistic = cell.statistic
    if statistic is None:
        return None
    low, high = interval(statistic) or (None, None)
    values = {"mean": statistic.mean, "std": statistic.std, "ci_low": low, "ci_high": high}
    numbers = {
        key: sheets.number(value, "" if value is None else shown(value, column, statistic.mean).replace("-", "−"))
        for key, value in values.items()
    }
    if cell.stale:
        numbers["mean"] = replace(numbers["mean"], words=f"{numbers['mean'].words}†")
    block = f"{suite.title('dataset', group.dataset)}: {column.title}"
    n = sheets.Entry(str(statistic.n))
    return sheets.Line(block, {**lead(suite, group, column), "n": n, **numbers}, group)
