"""Statistics over seeds, and the cells and tables that hold them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

DASH = "—"


@dataclass(frozen=True)
class Statistic:
    """Mean and sample standard deviation (ddof = 1; None with one value) over ``n`` seeds."""

    mean: float
    std: float | None
    n: int


def summarise(values: Iterable[float]) -> Statistic | None:
    """Statistic of the values that are numbers; None where there is none.

    Values are summed exactly, so that their order does not matter.
    """
    found = [float(value) for value in values if not math.isnan(value)]
    if not found:
        return None
    std = statistics.stdev(found) if len(found) > 1 else None
    return Statistic(math.fsum(found) / len(found), std, len(found))


def pooled_std(one: Statistic, two: Statistic) -> float | None:
    """√(((n₁−1)s₁² + (n₂−1)s₂²) / (n₁+n₂−2)); None where neither has two seeds."""
    freedom = one.n + two.n - 2
    if freedom <= 0:
        return None
    squares = sum((entry.n - 1) * (entry.std or 0.0) ** 2 for entry in (one, two))
    return math.sqrt(squares / freedom)


def tied(one: Statistic, best: Statistic) -> bool:
    """Whether the two means lie within one pooled standard deviation; without one, only equal means are tied."""
    spread = pooled_std(one, best) or 0.0
    return abs(one.mean - best.mean) <= spread


@dataclass(frozen=True)
class Column:
    """A column of numbers.

    Attributes:
        key: prefix of its csv columns.
        title: its heading, with the unit.
        scale: factor from the stored value to the shown one (100 for per cent).
        digits: digits shown after the point.
        better: 1 where larger is better, −1 where smaller is.
        short: its heading where room is scarce.
    """

    key: str
    title: str
    scale: float = 100.0
    digits: int = 1
    better: int = 1
    short: str = ""


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes:
        statistic: None where there is no number.
        planned: seeds that the plan asks for; 0 where the plan has no such run.
        state: ``value``, ``missing``, ``no sample``, ``not applicable`` or ``not planned``.
        reason: why it is not applicable.
        best, tied: its place in its block; stale: numbers of another identity are in it; unconverged: a solver stopped
            before it converged in one of its runs.
        delta: difference to what the table compares with; ``within``: at most one pooled standard deviation.
    """

    statistic: Statistic | None = None
    planned: int = 0
    state: str = "not planned"
    reason: str = ""
    best: bool = False
    tied: bool = False
    stale: bool = False
    unconverged: bool = False
    delta: float | None = None
    within: bool = False


@dataclass(frozen=True)
class Row:
    """A row: raw keys and words of its leading columns, seeds done and planned, its cells by column key."""

    keys: dict[str, str]
    words: dict[str, str]
    cells: dict[str, Cell]
    done: int = 0
    planned: int = 0
    uses_labels: bool = False
    reference: bool = False
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def dataset(self) -> str:
        """The data set's key: the block of the table that the row belongs to."""
        return self.keys["dataset"]


@dataclass(frozen=True)
class Reference:
    """A number of somebody else's under another protocol."""

    dataset: str
    method: str
    metric: str
    value: str
    protocol: str
    source: str


@dataclass(frozen=True)
class Table:
    """A table before it is written in any format.

    Attributes:
        lead: keys of the leading columns, in order.
        seeds: whether a column of seeds stands after them.
        extra: keys of trailing text columns of the csv.
        layout: suffixes of each column's csv columns, such as ``mean`` and ``std``.
        delta: words for what a difference is taken to; empty where the table shows none.
    """

    name: str
    title: str
    lead: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    caption: str
    notes: tuple[str, ...] = ()
    references: tuple[Reference, ...] = ()
    seeds: bool = True
    extra: tuple[str, ...] = ()
    layout: tuple[str, ...] = ("mean", "std")
    delta: str = ""

    def blocks(self) -> list[tuple[str, list[Row]]]:
        """Rows by data set, in order: (words for the data set, its rows)."""
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            found.setdefault(row.words["dataset"], []).append(row)
        return list(found.items())


def mark_best(rows: Sequence[Row], columns: Sequence[Column]) -> list[Row]:
    """Mark, in each column, the best mean of these rows and what is tied with it; rows that use labels stand apart."""
    marked = list(rows)
    for column in columns:
        rivals = [
            (index, cell.statistic)
            for index, row in enumerate(marked)
            if not row.uses_labels and (cell := row.cells[column.key]).statistic is not None
        ]
        if len(rivals) < 2:
            continue
        best = max((entry for _, entry in rivals if entry), key=lambda entry: column.better * entry.mean)
        for index, entry in rivals:
            if entry is None:
                continue
            is_best = entry is best or entry.mean == best.mean
            cell = replace(marked[index].cells[column.key], best=is_best, tied=not is_best and tied(entry, best))
            marked[index] = replace(marked[index], cells={**marked[index].cells, column.key: cell})
    return marked
