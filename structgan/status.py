"""One screen about a suite: how many runs are done, what runs and for how long, what failed and why, what it costs.

A line is a row of the grid with its seeds. A large grid is folded, except rows that need a look. Imports no torch.
"""

import statistics
import textwrap
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

from structgan import plan as planning
from structgan import provenance
from structgan.states import STATES, State, read_state

SCREEN = 40
"""Rows."""
WIDTH = 100
QUIET = frozenset({"done", "trained", "missing"})
"""States of runs that need no look, so that rows of them may be folded."""
Row = tuple[str, ...]


@dataclass(frozen=True)
class Overview:
    """The state of a suite.

    Attributes:
        suite: its name.
        counts: number of runs in each state that occurs.
        spent_hours: of training on record, by ``GPU-hours`` (hours times GPUs) and ``CPU-hours`` (of processes).
        projected_hours: that the rest will take at measured steps/s, likewise.
        not_projected: number of runs to train, by method, for which no speed was measured.
        runs: the state of each run.
    """

    suite: str
    counts: dict[str, int]
    spent_hours: dict[str, float]
    projected_hours: dict[str, float]
    not_projected: dict[str, int]
    runs: list[State]


def gather(plan_file: Path) -> Overview:
    """The state of every run of a plan."""
    plan, tree, now = planning.read(plan_file), provenance.tree_of_plan(plan_file), time.time()
    runs = [read_state(entry, tree / entry["run"], now) for entry in plan["runs"]]
    found = Counter(run.name for run in runs)
    spent: dict[str, float] = defaultdict(float)
    for run in runs:
        if run.seconds:
            spent[unit(run.gpus)] += run.seconds / 3600 * (run.gpus or 1)
    counts = {name: found[name] for name in STATES if found[name]}
    return Overview(plan["suite"], counts, dict(spent), *project(runs), runs)


def unit(gpus: int) -> str:
    """What hours on so many GPUs are counted as."""
    return "GPU-hours" if gpus else "CPU-hours"


def project(runs: list[State]) -> tuple[dict[str, float], dict[str, int]]:
    """Hours of what is left to train, and the number of runs by method whose speed nobody has measured.

    The speed of a run is its own, else the median of the runs of its row, of its data set and method, or of its method.
    """
    measured: dict[Row, list[tuple[float, int]]] = defaultdict(list)
    for run in runs:
        for key in (run.row, run.row[:2], run.row[1:2]) if run.rate else ():
            measured[key].append((run.rate or 0, run.gpus))
    hours: dict[str, float] = defaultdict(float)
    unknown: Counter[str] = Counter()
    for run in (run for run in runs if run.step < run.steps):
        known = next((measured[key] for key in (run.row, run.row[:2], run.row[1:2]) if key in measured), None)
        if known is None:
            unknown[run.entry["method"]] += 1
            continue
        rate = run.rate or statistics.median(rate for rate, _ in known)
        gpus = run.gpus if run.rate else max(gpus for _, gpus in known)
        hours[unit(gpus)] += (run.steps - run.step) / rate / 3600 * (gpus or 1)
    return dict(hours), dict(unknown)


def lines(overview: Overview, every: bool = False) -> list[str]:
    """The screen as lines of at most ``WIDTH`` columns; ``every`` shows each row of the grid."""
    counts = ", ".join(f"{number} {name}" for name, number in overview.counts.items())
    shown = [*textwrap.wrap(f"{overview.suite}: {len(overview.runs)} runs: {counts}", WIDTH), ""]
    most = len(overview.runs) if every else SCREEN
    rows = fold(overview.runs, most)
    table = list(rows.items())[:most]
    widths = [max(map(len, column)) for column in zip(*(names for names, _ in table), strict=True)]
    for names, runs in table:
        start = "".join(f"{name:{width}}  " for name, width in zip(names, widths, strict=True))
        indent = " " * min(len(start), 40)
        shown += textwrap.wrap(words_of(runs), WIDTH, initial_indent=start, subsequent_indent=indent)
    if len(table) < len(rows):
        shown.append(f"and {len(rows) - len(table)} rows more; --all shows them")
    return [*shown, "", *textwrap.wrap(costs(overview), WIDTH)]


def fold(runs: list[State], most: int) -> dict[Row, list[State]]:
    """Runs by their row, failures first; where there are more than ``most``, those that need no look share lines."""
    rows: dict[Row, list[State]] = defaultdict(list)
    for run in runs:
        rows[run.row].append(run)
    states = {names: {run.name for run in row} - QUIET for names, row in rows.items()}
    loud = sorted((names for names in rows if states[names]), key=lambda names: states[names] == {"running"})
    for depth in (4, 2, 1, 0):
        folded = {names: rows[names] for names in loud}
        for names in (names for names in rows if not states[names]):
            folded.setdefault((*names[:depth], *"*" * (4 - depth)), []).extend(rows[names])
        if len(folded) <= most:
            break
    return folded


def words_of(runs: list[State]) -> str:
    """The states of a row's runs: counts, and by seed each run that runs, failed or was interrupted."""
    counts = Counter(run.name for run in runs)
    words = [f"{counts['done']}/{len(runs)} done"]
    words += [f"{counts[name]} {name}" for name in STATES[1:] if counts[name] and name in QUIET]
    reasons = dict.fromkeys(run.reason for run in runs if run.name in QUIET and run.reason)
    if reasons:
        words[-1] += f" ({', '.join(reasons)})"
    words += [f"seed {run.entry['seed']} {run.name}{about(run)}" for run in runs if run.name not in QUIET]
    return "; ".join(words)


def about(run: State) -> str:
    """Progress, speed and time left of what runs; the reason of what failed or was interrupted."""
    words = [f"{100 * run.step / run.steps:.0f}%"] if run.steps and run.name != "failed" else []
    if run.left is not None:
        words += [f"{run.rate:.3g} steps/s", f"{run.left} left"]
    text = f" {', '.join(words)}" if words else ""
    return f"{text}: {run.reason}" if run.reason else text


def costs(overview: Overview) -> str:
    """What was spent and what the rest will take, in sentences."""
    spent, rest = (
        ", ".join(f"{value:,.2f} {name}" for name, value in hours.items())
        for hours in (overview.spent_hours, overview.projected_hours)
    )
    words = [f"Spent on training: {spent or 'nothing'}."]
    if rest:
        words.append(f"To go, at the measured steps/s: about {rest}.")
    if overview.not_projected:
        runs = ", ".join(f"{name} ({number} runs)" for name, number in overview.not_projected.items())
        words.append(f"Not projected, because no run of it was measured yet: {runs}.")
    return " ".join(words)
