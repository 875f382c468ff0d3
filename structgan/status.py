"""One screen about a suite: how many runs are done, what runs and for how long, what failed and why, what it costs.

A line is a row of the grid with its seeds. A large grid is folded, except rows that need a look. Imports no torch.
"""

import statistics
import textwrap
import time
from collections import Counter, defaultdict
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


def gather(plan_file: Path) -> tuple[str, list[State]]:
    """The name of a plan's suite, and the state of each run."""
    plan, tree, now = planning.read(plan_file), provenance.tree_of_plan(plan_file), time.time()
    return plan["suite"], [read_state(entry, tree / entry["run"], now) for entry in plan["runs"]]


def screen(plan_file: Path, every: bool, why: bool) -> str:
    """The screen of a suite; ``why`` adds the reasons for which runs are planned."""
    from structgan import why as reasons

    suite, runs = gather(plan_file)
    told = reasons.lines(runs, provenance.tree_of_plan(plan_file)) if why else []
    return "\n".join([*lines(suite, runs, every), "", *told, *[""] * bool(told)])


def unit(gpus: int) -> str:
    """What hours on so many GPUs are counted as: hours times GPUs, or hours of processes."""
    return "GPU-hours" if gpus else "CPU-hours"


def spent(runs: list[State]) -> dict[str, float]:
    """Hours of training on record, by their unit."""
    hours: dict[str, float] = defaultdict(float)
    for run in runs:
        hours[unit(run.gpus)] += run.seconds / 3600 * (run.gpus or 1)
    return {name: value for name, value in hours.items() if value}


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


def lines(suite: str, runs: list[State], every: bool = False) -> list[str]:
    """The screen as lines of at most ``WIDTH`` columns; ``every`` shows each row of the grid."""
    found = Counter(run.name for run in runs)
    counts = ", ".join(f"{found[name]} {name}" for name in STATES if found[name])
    shown = [*textwrap.wrap(f"{suite}: {len(runs)} runs: {counts}", WIDTH), ""]
    most = len(runs) if every else SCREEN
    rows = fold(runs, most)
    table = list(rows.items())[:most]
    widths = [max(map(len, column)) for column in zip(*(names for names, _ in table), strict=True)]
    for names, row in table:
        start = "".join(f"{name:{width}}  " for name, width in zip(names, widths, strict=True))
        indent = " " * min(len(start), 40)
        shown += textwrap.wrap(words_of(row), WIDTH, initial_indent=start, subsequent_indent=indent)
    if len(table) < len(rows):
        shown.append(f"and {len(rows) - len(table)} rows more; --all shows them")
    return [*shown, "", *textwrap.wrap(costs(runs), WIDTH)]


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


def costs(runs: list[State]) -> str:
    """What was spent and what the rest will take, in sentences."""
    projected, unknown = project(runs)
    done, rest = (", ".join(f"{value:,.2f} {name}" for name, value in one.items()) for one in (spent(runs), projected))
    words = [f"Spent on training: {done or 'nothing'}."]
    if rest:
        words.append(f"To go, at the measured steps/s: about {rest}.")
    if unknown:
        names = ", ".join(f"{name} ({number} runs)" for name, number in unknown.items())
        words.append(f"Not projected, because no run of it was measured yet: {names}.")
    return " ".join(words)
