"""The state of one planned run, read from the small files of its folder: state, reason, progress, speed.

It takes no lock and reads no tensor, so it can look at runs that are being trained. Imports no torch.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from structgan import provenance
from structgan.errors import UserError
from structgan.files import read_json

STATES = ("done", "running", "queued", "trained", "failed", "damaged", "interrupted", "missing")
"""``trained`` awaits its evaluations; ``interrupted`` goes on from its state file when it is started again."""
SILENT_S = 900
"""Seconds. A run that has written nothing for so long, and for three of its log intervals, counts as dead."""
TAIL = 4096
TIMEOUT_S = 10


@dataclass(frozen=True)
class State:
    """The state of one planned run.

    Attributes:
        name: one of ``STATES``.
        reason: why it failed or was interrupted; what it still lacks.
        step, steps: updates done, and planned.
        rate: updates a second as last measured; None where unknown.
        seconds: of training on record.
        gpus: that trained it; 0 on a CPU, None where unknown.
    """

    name: str
    reason: str
    step: int
    steps: int
    rate: float | None
    seconds: float
    gpus: int | None


def read_state(entry: Mapping[str, Any], run: Path, queue: Mapping[str, str], now: float) -> State:
    """The state of a run.

    Args:
        entry: of a plan's ``runs``.
        run: its folder.
        queue: state of the cluster's jobs by comment, see ``cluster_jobs``.
        now: Unix seconds.
    """
    env, progress = optional(run / "env.json"), optional(run / "progress.json")
    trained, steps = (run / "env.json").exists(), int(entry["steps"])
    step = steps if trained else int(progress.get("step") or 0)
    rate = progress.get("steps_per_second")
    if env.get("seconds") and (trained or not rate):
        rate = env.get("steps", 0) / env["seconds"]
    latest = progress if progress.get("seconds") is not None else env
    gpus = latest.get("gpus")
    gpus = gpus if gpus is not None else {"cpu": 0, "cuda": 1}.get(str(latest.get("device")))

    def state(name: str, reason: str = "") -> State:
        return State(name, reason, step, steps, rate or None, float(latest.get("seconds") or 0), gpus)

    dead = why_dead(progress, run, now) if progress.get("state") == "running" else ""
    if dead is None:
        return state("running")
    waiting = queued(entry, queue)
    if trained:
        lacking = [file for file in entry["evaluations"].values() if not (run / file).exists()]
        try:
            record = provenance.read_training(run)
            for file in entry["evaluations"].values():
                if (run / file).exists():
                    provenance.read_evaluation(run, file, record)
        except UserError as error:
            return state("damaged", str(error))
        if not lacking:
            return state("done")
        if waiting:
            return state(waiting, "evaluation")
        reasons = [refusal((run / file).with_suffix(".log")) for file in lacking]
        failed = next(filter(None, reasons), None)
        return state("failed", failed) if failed else state("trained", f"lacks {', '.join(lacking)}")
    if waiting:
        return state(waiting, "training")
    if progress.get("state") == "failed":
        return state("failed", str(progress.get("reason") or "no reason on record"))
    if progress.get("state") in ("running", "stopped"):
        return state("interrupted", dead or str(progress.get("reason") or "stopped by a signal"))
    if reason := refusal(run / "train.log"):
        return state("failed", reason)
    above = entry.get("upstream")
    if above and not (provenance.tree_of(run) / above["run"] / "env.json").exists():
        return state("missing", f"awaits {'/'.join(Path(above['run']).parts[-5:-2])}")
    return state("missing")


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
        found = read_json(path)
    except UserError:
        return {}
    return found if isinstance(found, dict) else {}


def refusal(log: Path) -> str | None:
    """The error that a job ended with, if its log ends with one."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL))
            lines = file.read().decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return None
    return lines[-1].removeprefix("structgan: ") if lines and lines[-1].startswith("structgan: ") else None


def cluster_jobs() -> dict[str, str]:
    """State of each pending or running Slurm job of this folder by its comment, which Snakemake's executor sets.

    The comment is ``rule_train_wildcards_DATASET_METHOD_AUGMENTATION_VARIANT_SEED_ID``, of a run's evaluations together
    ``rule_evaluate_DATASET_METHOD_AUGMENTATION_VARIANT_SEED_ID_…``. Empty without a Slurm that answers.
    """
    if shutil.which("squeue") is None:
        return {}
    command = ["squeue", "--me", "--noheader", "--states=PENDING,RUNNING", "--format=%T|%Z|%k"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return {}
    found: dict[str, str] = {}
    for line in done.stdout.splitlines():
        state, folder, comment = (*line.split("|", 2), "", "")[:3]
        if Path(folder) == Path.cwd() and found.get(comment) != "RUNNING":
            found[comment.strip()] = state
    return found


def queued(entry: Mapping[str, Any], queue: Mapping[str, str]) -> str | None:
    """``queued`` or ``running`` where the cluster has a job of this run, else None."""
    names = "_".join(str(entry[name]) for name in provenance.NAMES)
    names = f"{names}_{entry['identity'][: provenance.ID]}"
    states = {state for comment, state in queue.items() if comment.startswith("rule_") and names in comment}
    return "running" if "RUNNING" in states else "queued" if states else None
