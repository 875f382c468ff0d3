"""The state of one planned run, read from the small files of its folder: state, reason, progress, speed.

It takes no lock and reads no tensor, so it can look at runs that are being trained. Imports no torch.
"""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from structgan import provenance
from structgan.errors import UserError

STATES = ("done", "running", "trained", "failed", "damaged", "interrupted", "missing")
"""``trained`` awaits its evaluations; ``interrupted`` resumes from its state file when it is started again."""
SILENT_S = 900
"""Seconds. A run that has written nothing for so long, and for three of its log intervals, counts as dead."""
TAIL = 4096


@dataclass(frozen=True)
class State:
    """The state of one planned run.

    Attributes:
        entry: what the plan says of it.
        name: one of ``STATES``.
        reason: why it failed or was interrupted, or what it still lacks.
        step, steps: updates done, and planned.
        rate: updates a second as last measured; None where unknown.
        seconds: of training on record.
        gpus: how many trained it; 0 on a CPU.
    """

    entry: Mapping[str, Any]
    name: str
    reason: str
    step: int
    steps: int
    rate: float | None
    seconds: float
    gpus: int

    @property
    def row(self) -> tuple[str, ...]:
        """Data set, method, augmentation and variant."""
        return tuple(str(self.entry[name]) for name in provenance.NAMES[:4])

    @property
    def left(self) -> timedelta | None:
        """Time until it is trained, at its own speed; None where it does not run or the speed is unknown."""
        if self.name != "running" or not self.rate:
            return None
        return timedelta(seconds=round((self.steps - self.step) / self.rate))


def read_state(entry: Mapping[str, Any], run: Path, now: float) -> State:
    """The state of a plan's ``entry`` whose folder is ``run``, at Unix time ``now``."""
    progress = optional(run / "progress.json")
    name, reason = judge(entry, run, progress, now)
    trained, steps = (run / "env.json").exists(), int(entry["steps"])
    env = optional(run / "env.json") if name != "damaged" else {}
    step = steps if trained else int(progress.get("step") or 0)
    seconds, gpus = float((env or progress).get("seconds") or 0), progress.get("gpus") or 0
    rate = progress.get("steps_per_second")
    if env.get("seconds") and (trained or not rate):
        rate = env.get("steps", 0) / env["seconds"]
    return State(entry, name, reason, step, steps, rate or None, seconds, gpus)


def judge(entry: Mapping[str, Any], run: Path, progress: Mapping[str, Any], now: float) -> tuple[str, str]:
    """Name and reason of the state of a run whose progress.json holds ``progress``."""
    if (run / "env.json").exists():
        return judge_trained(entry, run)
    told, reason = progress.get("state"), progress.get("reason")
    if told == "running":
        dead = why_dead(progress, run, now)
        return ("interrupted", dead) if dead else ("running", "")
    if told == "stopped":
        return "interrupted", reason or "stopped by a signal"
    if told == "failed":
        return "failed", reason or "no reason on record"
    if error := last_error(run / "train.log"):
        return "failed", error
    above = entry.get("upstream")
    if above and not (provenance.tree_of(run) / above["run"] / "env.json").exists():
        return "missing", f"awaits {'/'.join(Path(above['run']).parts[-5:-2])}"
    return "missing", ""


def judge_trained(entry: Mapping[str, Any], run: Path) -> tuple[str, str]:
    """Name and reason of the state of a trained run."""
    found, damaged = provenance.read_results(run, entry)
    if damaged:
        return "damaged", next(iter(damaged.values()))
    lacking = [file for name, file in entry["evaluations"].items() if name not in found]
    if not lacking:
        return "done", ""
    errors = [last_error((run / name).with_suffix(".log")) for name in lacking]
    if error := next(filter(None, errors), None):
        return "failed", error
    return "trained", f"lacks {', '.join(lacking)}"


def why_dead(progress: Mapping[str, Any], run: Path, now: float) -> str | None:
    """Why a run whose progress.json says running is not running; None if it is."""
    pid, silent = int(progress.get("pid") or 0), now - float(progress.get("updated") or 0)
    if progress.get("host") == socket.gethostname() and not exists(pid):
        return f"process {pid} is gone"
    limit = float(SILENT_S)
    if silent > limit and (rate := progress.get("steps_per_second")):
        every = optional(run / "config.json").get("settings", {}).get("training", {}).get("log_every", 0)
        limit = max(limit, 3 * every / rate)
    if silent > limit:
        place = f"{progress.get('host')}, process {pid}"
        return f"progress.json is {silent / 60:.0f} min old, more than {limit / 60:.0f} ({place})"
    return None


def exists(pid: int) -> bool:
    """Whether there is a process of that number on this host."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return pid > 0


def optional(path: Path) -> dict[str, Any]:
    """A small JSON object; empty where it is missing or damaged."""
    try:
        return provenance.read_json_object(path)
    except UserError:
        return {}


def last_error(log: Path) -> str | None:
    """The error that a job ended with, if its log ends with one."""
    last = tail(log).strip().rpartition("\n")[2]
    return last.removeprefix("structgan: ") if last.startswith("structgan: ") else None


def tail(log: Path) -> str:
    """The end of a log; "" where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""
