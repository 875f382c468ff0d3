"""One screen about a suite: how many runs are done, what runs and for how long, what failed and why, what it costs.

Rows of the grid with their seeds folded; a large grid folds further, whatever needs a look stays. Imports no torch.
"""

from __future__ import annotations

import socket
import statistics
import textwrap
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from structgan.errors import UserError
from structgan.files import read_json
from structgan.overview import queue
from structgan.overview.judge import STATES, Cell, judge

ROW = ("dataset", "method", "augmentation", "variant")
SCREEN = 40
WIDTH = 100
QUIET = frozenset({"done", "queued", "trained", "stale", "missing"})
"""States that may be folded: nobody has to act on a single one of their runs."""
NAMES = {True: "GPU-hours", False: "CPU-hours"}
Rows = dict[tuple[str, ...], list[tuple[dict[str, Any], Cell]]]
Line = tuple[tuple[str, ...], str]


@dataclass(frozen=True)
class Overview:
    """A suite as it stands.

    Attributes:
        plan: plan.json.
        cells: what the plan says of each run, and its state.
        spent: hours of training on record, by ``GPU-hours`` (hours times GPUs) and ``CPU-hours`` (of processes).
        projected: hours that the rest will take at measured steps/s, likewise.
        unknown: runs to train, by method, of which no speed was measured.
    """

    plan: dict[str, Any]
    cells: list[tuple[dict[str, Any], Cell]]
    spent: dict[str, float]
    projected: dict[str, float]
    unknown: dict[str, int]

    def counts(self) -> dict[str, int]:
        """Number of runs in each state, states without any left out."""
        found = Counter(cell.name for _, cell in self.cells)
        return {name: found[name] for name in STATES if found[name]}

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "suite": self.plan["suite"],
            "host": socket.gethostname(),
            "runs": len(self.cells),
            "counts": self.counts(),
            "spent_hours": self.spent,
            "projected_hours": self.projected,
            "not_projected": self.unknown,
            "cells": [{**entry, **asdict(cell), "left_s": left(cell)} for entry, cell in self.cells],
        }


def suites() -> list[Path]:
    """The plan of every suite under results/runs.

    Raises:
        UserError: there is none.
    """
    found = sorted(Path("results/runs").glob("*/plan.json"))
    if not found:
        raise UserError("results/runs: no suite is planned here (run snakemake or structgan configure first)")
    return found


def gather(plan_file: Path) -> Overview:
    """Judge every run of a plan.

    Raises:
        UserError: the plan is missing, damaged, or of another version.
    """
    plan = read_json(plan_file)
    if not isinstance(plan, dict) or not {"suite", "methods", "evaluation", "cells"} <= plan.keys():
        raise UserError(f"{plan_file}: not a plan of this version; plan again (structgan configure)")
    base, waiting, now = plan_file.absolute().parents[3], queue.jobs(), time.time()
    cells = [(entry, judge(entry, plan, base / entry["run"], waiting, now)) for entry in plan["cells"]]
    spent: dict[str, float] = defaultdict(float)
    for _, cell in cells:
        spent[NAMES[bool(cell.gpus)]] += cell.seconds / 3600 * (cell.gpus or 1)
    projected, unknown = project(cells)
    return Overview(plan, cells, {key: value for key, value in spent.items() if value}, projected, unknown)


def project(cells: list[tuple[dict[str, Any], Cell]]) -> tuple[dict[str, float], dict[str, int]]:
    """Hours of what is left to train, and the runs by method that nothing is known of.

    The speed of a run is its own, else the median of the most similar ones: same row, variant, data set, method.
    """
    measured: dict[tuple[Any, ...], list[tuple[float, int]]] = {}
    for entry, cell in cells:
        if cell.rate:
            for key in alike(entry):
                measured.setdefault(key, []).append((cell.rate, cell.gpus or 0))
    hours: dict[str, float] = defaultdict(float)
    unknown: Counter[str] = Counter()
    for entry, cell in cells:
        steps = cell.steps - cell.step
        if not steps:
            continue
        known = next((measured[key] for key in alike(entry) if key in measured), None)
        if known is None:
            unknown[entry["method"]] += 1
            continue
        rates, gpus = zip(*known, strict=True)
        used = cell.gpus if cell.rate and cell.gpus is not None else max(gpus)
        hours[NAMES[bool(used)]] += steps / (cell.rate or statistics.median(rates)) / 3600 * (used or 1)
    return dict(hours), dict(unknown)


def alike(entry: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Keys of the runs that are expected to be as fast as this one, the most similar first."""
    dataset, method, augmentation, variant = (entry[key] for key in ROW)
    yield dataset, method, variant, augmentation
    yield dataset, method, variant
    yield dataset, method
    yield (method,)


def left(cell: Cell) -> float | None:
    """Seconds until a run is trained at its own speed; None where it does not run or the speed is unknown."""
    return (cell.steps - cell.step) / cell.rate if cell.name == "running" and cell.rate else None


def lines(overview: Overview, every: bool = False) -> list[str]:
    """The screen as lines of at most ``WIDTH`` columns; ``every`` shows each row of the grid."""
    counts = ", ".join(f"{number} {name}" for name, number in overview.counts().items())
    shown = [*textwrap.wrap(f"{overview.plan['suite']}: {len(overview.cells)} runs: {counts}", WIDTH), ""]
    rows: Rows = {}
    for entry, cell in overview.cells:
        rows.setdefault(tuple(str(entry[key]) for key in ROW), []).append((entry, cell))
    loud, quiet = fold(rows, len(ROW))
    for depth in () if every else (2, 1, 0):
        if len(loud) + len(quiet) > SCREEN:
            loud, quiet = fold(rows, depth)
    cut = len(loud) if every else max(1, SCREEN - len(quiet))
    table = [*loud[:cut], *quiet]
    widths = [max((len(names[at]) for names, _ in table), default=0) for at in range(len(ROW))]
    for names, words in table:
        start = "".join(f"{name:{width}}  " for name, width in zip(names, widths, strict=True))
        shown += textwrap.wrap(words, WIDTH, initial_indent=start, subsequent_indent=" " * min(len(start), 40))
    if loud[cut:]:
        shown.append(f"and {len(loud) - cut} rows more with runs that run, failed or stopped; --all shows them")
    return [*shown, "", *textwrap.wrap(costs(overview), WIDTH)]


def fold(rows: Rows, depth: int) -> tuple[list[Line], list[Line]]:
    """Names and words of the rows: those that need a look, failures first, and the others.

    Of the others, all with equal first ``depth`` names share one line.
    """
    table: Rows = {}
    for names, cells in rows.items():
        quiet = all(cell.name in QUIET for _, cell in cells)
        key = (*names[:depth], *("*" for _ in names[depth:])) if quiet else names
        table.setdefault(key, []).extend(cells)
    found: dict[str, list[Line]] = {"failed": [], "running": [], "quiet": []}
    for key, cells in table.items():
        states = {cell.name for _, cell in cells}
        kind = "quiet" if states <= QUIET else "running" if states <= {*QUIET, "running"} else "failed"
        found[kind].append((key, words_of(cells)))
    return [*found["failed"], *found["running"]], found["quiet"]


def words_of(cells: list[tuple[dict[str, Any], Cell]]) -> str:
    """How the runs of a row stand: counts, and each run that runs, failed or was interrupted, by its seed."""
    counts = Counter(cell.name for _, cell in cells)
    words = [f"{counts['done']}/{len(cells)} done"]
    words += [f"{counts[name]} {name}" for name in STATES[1:] if counts[name] and name in QUIET]
    reasons = dict.fromkeys(cell.reason for _, cell in cells if cell.name in QUIET and cell.reason)
    words += [f"({', '.join(reasons)})"] if reasons else []
    for entry, cell in cells:
        if cell.name not in QUIET:
            words.append(f"seed {entry['seed']} {cell.name}{about(cell)}")
    return "; ".join(words).replace("; (", " (")


def about(cell: Cell) -> str:
    """Progress, speed and time left of what runs; the reason of what failed or was interrupted."""
    words = [f"{100 * cell.step / cell.steps:.0f}%"] if cell.steps and cell.name != "failed" else []
    if cell.name == "running" and cell.rate:
        words.append(f"{cell.rate:.3g} steps/s")
        words.append(f"{duration(left(cell) or 0.0)} left")
    text = f" {', '.join(words)}" if words else ""
    return f"{text}: {cell.reason}" if cell.reason else text


def duration(seconds: float) -> str:
    """Seconds in the two units that matter."""
    minutes, hours = seconds / 60, seconds / 3600
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{minutes:.0f} min" if minutes < 120 else f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.1f} d"


def amount(value: float) -> str:
    """A number in three digits, large ones without an exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def costs(overview: Overview) -> str:
    """What was spent and what the rest will take, in a sentence."""
    spent = ", ".join(f"{amount(value)} {name}" for name, value in overview.spent.items()) or "nothing"
    rest = ", ".join(f"{amount(value)} {name}" for name, value in overview.projected.items())
    words = [f"Spent on training: {spent}."]
    if rest:
        words.append(f"To go, at the measured steps/s: about {rest}.")
    if overview.unknown:
        runs = ", ".join(f"{name} ({number} runs)" for name, number in overview.unknown.items())
        words.append(f"Not projected, for no run of it was measured yet: {runs}.")
    return " ".join(words)
