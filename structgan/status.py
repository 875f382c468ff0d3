"""One screen about a suite: how many runs are done, what runs and for how long, what failed and why, what it costs.

A line is a row of the grid with its seeds. A large grid is folded, except rows that need a look. Imports no torch.
"""

from __future__ import annotations

import socket
import statistics
import textwrap
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from structgan import plan as planning
from structgan import provenance
from structgan.states import STATES, State, read_state

ROW = ("dataset", "method", "augmentation", "variant")
SCREEN = 40
"""Rows."""
WIDTH = 100
QUIET = frozenset({"done", "trained", "missing"})
"""States of runs that need no look, so that rows of them may be folded."""
Runs = list[tuple[dict[str, Any], State]]


@dataclass(frozen=True)
class Overview:
    """The state of a suite.

    Attributes:
        plan: the plan.
        runs: what the plan says of each run, and its state.
        spent: hours of training on record, by ``GPU-hours`` (hours times GPUs) and ``CPU-hours`` (of processes).
        projected: hours that the rest will take at measured steps/s, likewise.
        unknown: runs to train, by method, for which no speed was measured.
    """

    plan: dict[str, Any]
    runs: Runs
    spent: dict[str, float]
    projected: dict[str, float]
    unknown: dict[str, int]

    def counts(self) -> dict[str, int]:
        """Number of runs in each state that occurs."""
        found = Counter(run.name for _, run in self.runs)
        return {name: found[name] for name in STATES if found[name]}

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "suite": self.plan["suite"],
            "host": socket.gethostname(),
            "total": len(self.runs),
            "counts": self.counts(),
            "spent_hours": self.spent,
            "projected_hours": self.projected,
            "not_projected": self.unknown,
            "runs": [{**entry, **asdict(run), "left_s": left(run)} for entry, run in self.runs],
        }


def gather(plan_file: Path) -> Overview:
    """The state of every run of a plan.

    Raises:
        UserError: the plan is missing, damaged, or of another version.
    """
    plan, tree, now = planning.read(plan_file), provenance.tree_of_plan(plan_file), time.time()
    runs = [(entry, read_state(entry, tree / entry["run"], now)) for entry in plan["runs"]]
    spent: dict[str, float] = defaultdict(float)
    for _, run in runs:
        if run.seconds:
            spent[unit(run.gpus)] += run.seconds / 3600 * (run.gpus or 1)
    return Overview(plan, runs, dict(spent), *project(runs))


def unit(gpus: int) -> str:
    """What hours on so many GPUs are counted as."""
    return "GPU-hours" if gpus else "CPU-hours"


def project(runs: Runs) -> tuple[dict[str, float], dict[str, int]]:
    """Hours of what is left to train, and the number of runs by method whose speed nobody has measured.

    The speed of a run is its own, else the median of the runs of its row, of its data set and method, or of its method.
    """
    measured: dict[tuple[Any, ...], list[tuple[float, int]]] = defaultdict(list)
    for entry, run in runs:
        for key in alike(entry) if run.rate else ():
            measured[key].append((run.rate or 0, run.gpus))
    hours: dict[str, float] = defaultdict(float)
    unknown: Counter[str] = Counter()
    for entry, run in runs:
        if run.step >= run.steps:
            continue
        known = next((measured[key] for key in alike(entry) if key in measured), None)
        if known is None:
            unknown[entry["method"]] += 1
            continue
        rate = run.rate or statistics.median(rate for rate, _ in known)
        gpus = run.gpus if run.rate else max(gpus for _, gpus in known)
        hours[unit(gpus)] += (run.steps - run.step) / rate / 3600 * (gpus or 1)
    return dict(hours), dict(unknown)


def alike(entry: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Keys of the runs that are expected to be as fast as this one, the most similar first."""
    return [tuple(entry[name] for name in names) for names in (ROW, ROW[:2], ("method",))]


def left(run: State) -> float | None:
    """Seconds until a run is trained at its own speed; None where it does not run or the speed is unknown."""
    return (run.steps - run.step) / run.rate if run.name == "running" and run.rate else None


def lines(overview: Overview, every: bool = False) -> list[str]:
    """The screen as lines of at most ``WIDTH`` columns; ``every`` shows each row of the grid."""
    counts = ", ".join(f"{number} {name}" for name, number in overview.counts().items())
    shown = [*textwrap.wrap(f"{overview.plan['suite']}: {len(overview.runs)} runs: {counts}", WIDTH), ""]
    most = len(overview.runs) if every else SCREEN
    rows = fold(overview.runs, most)
    table = list(rows.items())[:most]
    widths = [max(len(names[at]) for names, _ in table) for at in range(len(ROW))]
    for names, runs in table:
        start = "".join(f"{name:{width}}  " for name, width in zip(names, widths, strict=True))
        indent = " " * min(len(start), 40)
        shown += textwrap.wrap(words_of(runs), WIDTH, initial_indent=start, subsequent_indent=indent)
    if len(table) < len(rows):
        shown.append(f"and {len(rows) - len(table)} rows more; --all shows them")
    return [*shown, "", *textwrap.wrap(costs(overview), WIDTH)]


def fold(runs: Runs, most: int) -> dict[tuple[str, ...], Runs]:
    """Runs by their row, failures first; where there are more than ``most``, those that need no look share lines."""
    rows: dict[tuple[str, ...], Runs] = defaultdict(list)
    for entry, run in runs:
        rows[tuple(str(entry[name]) for name in ROW)].append((entry, run))
    states = {names: {run.name for _, run in row} - QUIET for names, row in rows.items()}
    loud = sorted((names for names in rows if states[names]), key=lambda names: states[names] == {"running"})
    for depth in (len(ROW), 2, 1, 0):
        folded = {names: rows[names] for names in loud}
        for names in (names for names in rows if not states[names]):
            folded.setdefault((*names[:depth], *"*" * (len(ROW) - depth)), []).extend(rows[names])
        if len(folded) <= most:
            break
    return folded


def words_of(runs: Runs) -> str:
    """The states of a row's runs: counts, and by seed each run that runs, failed or was interrupted."""
    counts = Counter(run.name for _, run in runs)
    words = [f"{counts['done']}/{len(runs)} done"]
    words += [f"{counts[name]} {name}" for name in STATES[1:] if counts[name] and name in QUIET]
    reasons = dict.fromkeys(run.reason for _, run in runs if run.name in QUIET and run.reason)
    if reasons:
        words[-1] += f" ({', '.join(reasons)})"
    words += [f"seed {entry['seed']} {run.name}{about(run)}" for entry, run in runs if run.name not in QUIET]
    return "; ".join(words)


def about(run: State) -> str:
    """Progress, speed and time left of what runs; the reason of what failed or was interrupted."""
    words = [f"{100 * run.step / run.steps:.0f}%"] if run.steps and run.name != "failed" else []
    if (seconds := left(run)) is not None:
        words += [f"{run.rate:.3g} steps/s", f"{timedelta(seconds=round(seconds))} left"]
    text = f" {', '.join(words)}" if words else ""
    return f"{text}: {run.reason}" if run.reason else text


def costs(overview: Overview) -> str:
    """What was spent and what the rest will take, in sentences."""
    spent, rest = (
        ", ".join(f"{value:,.2f} {name}" for name, value in hours.items())
        for hours in (overview.spent, overview.projected)
    )
    words = [f"Spent on training: {spent or 'nothing'}."]
    if rest:
        words.append(f"To go, at the measured steps/s: about {rest}.")
    if overview.unknown:
        runs = ", ".join(f"{name} ({number} runs)" for name, number in overview.unknown.items())
        words.append(f"Not projected, because no run of it was measured yet: {runs}.")
    return " ".join(words)
