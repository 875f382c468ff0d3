"""One screen about a suite: how many runs are done, what runs and for how long, what failed and why, what it costs.

Rows of the grid with their seeds folded. A large grid folds further, except rows that need a look. Imports no torch.
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

from structgan import plan as planning
from structgan.states import STATES, State, cluster_jobs, read_state

ROW = ("dataset", "method", "augmentation", "variant")
SCREEN = 40
WIDTH = 100
QUIET = frozenset({"done", "queued", "trained", "missing"})
"""States whose rows may be folded: none of their runs needs a look."""
NAMES = {True: "GPU-hours", False: "CPU-hours"}
Rows = dict[tuple[str, ...], list[tuple[dict[str, Any], State]]]
Line = tuple[tuple[str, ...], str]


@dataclass(frozen=True)
class Overview:
    """The state of a suite.

    Attributes:
        plan: the plan.
        runs: what the plan says of each run, and its state.
        spent: hours of training on record, by ``GPU-hours`` (hours times GPUs) and ``CPU-hours`` (of processes).
        projected: hours that the rest will take at measured steps/s, likewise.
        unknown: runs to train, by method, of which no speed was measured.
    """

    plan: dict[str, Any]
    runs: list[tuple[dict[str, Any], State]]
    spent: dict[str, float]
    projected: dict[str, float]
    unknown: dict[str, int]

    def counts(self) -> dict[str, int]:
        """Number of runs in each state, states without any left out."""
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
    plan = planning.read(plan_file)
    tree, waiting, now = plan_file.absolute().parents[3], cluster_jobs(), time.time()
    tree = tree.relative_to(Path.cwd()) if tree.is_relative_to(Path.cwd()) else tree
    runs = [(entry, read_state(entry, tree / entry["run"], waiting, now)) for entry in plan["runs"]]
    spent: dict[str, float] = defaultdict(float)
    for _, run in runs:
        spent[NAMES[bool(run.gpus)]] += run.seconds / 3600 * (run.gpus or 1)
    projected, unknown = project(runs)
    return Overview(plan, runs, {key: value for key, value in spent.items() if value}, projected, unknown)


def project(runs: list[tuple[dict[str, Any], State]]) -> tuple[dict[str, float], dict[str, int]]:
    """Hours of what is left to train, and the runs by method that nothing is known of.

    The speed of a run is its own, else the median of the most similar ones: same row, variant, data set, method.
    """
    measured: dict[tuple[Any, ...], list[tuple[float, int]]] = {}
    for entry, run in runs:
        if run.rate:
            for key in alike(entry):
                measured.setdefault(key, []).append((run.rate, run.gpus or 0))
    hours: dict[str, float] = defaultdict(float)
    unknown: Counter[str] = Counter()
    for entry, run in runs:
        steps = run.steps - run.step
        if not steps:
            continue
        known = next((measured[key] for key in alike(entry) if key in measured), None)
        if known is None:
            unknown[entry["method"]] += 1
            continue
        rates, gpus = zip(*known, strict=True)
        used = run.gpus if run.rate and run.gpus is not None else max(gpus)
        hours[NAMES[bool(used)]] += steps / (run.rate or statistics.median(rates)) / 3600 * (used or 1)
    return dict(hours), dict(unknown)


def alike(entry: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Keys of the runs that are expected to be as fast as this one, the most similar first."""
    dataset, method, augmentation, variant = (entry[key] for key in ROW)
    yield dataset, method, variant, augmentation
    yield dataset, method, variant
    yield dataset, method
    yield (method,)


def left(run: State) -> float | None:
    """Seconds until a run is trained at its own speed; None where it does not run or the speed is unknown."""
    return (run.steps - run.step) / run.rate if run.name == "running" and run.rate else None


def lines(overview: Overview, every: bool = False) -> list[str]:
    """The screen as lines of at most ``WIDTH`` columns; ``every`` shows each row of the grid."""
    counts = ", ".join(f"{number} {name}" for name, number in overview.counts().items())
    shown = [*textwrap.wrap(f"{overview.plan['suite']}: {len(overview.runs)} runs: {counts}", WIDTH), ""]
    rows: Rows = {}
    for entry, run in overview.runs:
        rows.setdefault(tuple(str(entry[key]) for key in ROW), []).append((entry, run))
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
    for names, runs in rows.items():
        quiet = all(run.name in QUIET for _, run in runs)
        key = (*names[:depth], *("*" for _ in names[depth:])) if quiet else names
        table.setdefault(key, []).extend(runs)
    found: dict[str, list[Line]] = {"failed": [], "running": [], "quiet": []}
    for key, runs in table.items():
        states = {run.name for _, run in runs}
        kind = "quiet" if states <= QUIET else "running" if states <= {*QUIET, "running"} else "failed"
        found[kind].append((key, words_of(runs)))
    return [*found["failed"], *found["running"]], found["quiet"]


def words_of(runs: list[tuple[dict[str, Any], State]]) -> str:
    """The states of a row's runs: counts, and by seed each run that runs, failed or was interrupted."""
    counts = Counter(run.name for _, run in runs)
    words = [f"{counts['done']}/{len(runs)} done"]
    words += [f"{counts[name]} {name}" for name in STATES[1:] if counts[name] and name in QUIET]
    reasons = dict.fromkeys(run.reason for _, run in runs if run.name in QUIET and run.reason)
    words += [f"({', '.join(reasons)})"] if reasons else []
    for entry, run in runs:
        if run.name not in QUIET:
            words.append(f"seed {entry['seed']} {run.name}{about(run)}")
    return "; ".join(words).replace("; (", " (")


def about(run: State) -> str:
    """Progress, speed and time left of what runs; the reason of what failed or was interrupted."""
    words = [f"{100 * run.step / run.steps:.0f}%"] if run.steps and run.name != "failed" else []
    if run.name == "running" and run.rate:
        words.append(f"{run.rate:.3g} steps/s")
        words.append(f"{duration(left(run) or 0.0)} left")
    text = f" {', '.join(words)}" if words else ""
    return f"{text}: {run.reason}" if run.reason else text


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
