"""The state of one cell of the grid, from the small files of its run: what it is, why, how far, at what speed.

Takes no lock and reads no tensor, so that it may look at runs that are being trained. Imports no torch.
"""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from structgan.identity.standing import (
    FILES,
    METRICS,
    asked,
    environment,
    estranged,
    fault,
    optional,
    result,
    upstream_run,
)

STATES = ("done", "running", "queued", "trained", "failed", "interrupted", "stale", "missing")
"""``trained`` awaits its evaluation; ``interrupted`` goes on from its state file when it is started again."""
SILENT_S = 900
"""A run that has written nothing for so long, and for three of its log intervals, is taken for dead."""
TAIL = 4096


@dataclass(frozen=True)
class Cell:
    """One planned run as it stands.

    Attributes:
        name: one of ``STATES``.
        reason: why it failed, is stale or was interrupted; what it still lacks.
        step, steps: updates done under the planned identity, and planned.
        rate: updates a second as last measured, of whatever identity; None where unknown.
        seconds: of training that the folder has on record, whatever the identity.
        gpus: that trained it; 0 on a CPU, None where unknown.
    """

    name: str
    reason: str
    step: int
    steps: int
    rate: float | None
    seconds: float
    gpus: int | None


def living(progress: Mapping[str, Any], run: Path, now: float) -> str | None:
    """Why a progress.json that says running is not to be believed, in words; None where it is."""
    pid, silent = int(progress.get("pid") or 0), now - float(progress.get("updated") or 0)
    if progress.get("host") == socket.gethostname() and not exists(pid):
        return f"process {pid} is gone"
    limit = float(SILENT_S)
    if silent > limit and (rate := progress.get("steps_per_second")):
        every = optional(run / "config.json").get("settings", {}).get("training", {}).get("log_every", 0)
        limit = max(limit, 3 * every / rate)
    if silent > limit:
        where = f"{progress.get('host')}, process {pid}"
        return f"progress.json is {silent / 60:.0f} min old, more than {limit / 60:.0f} ({where})"
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


def refusal(log: Path, since: Path) -> str | None:
    """The line with which a job ended, where its log is newer than ``since`` and ends with one; else None."""
    try:
        if log.stat().st_mtime < since.stat().st_mtime:
            return None
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL))
            lines = file.read().decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return None
    return lines[-1].removeprefix("structgan: ") if lines and lines[-1].startswith("structgan: ") else None


def judge(cell: Mapping[str, Any], plan: Mapping[str, Any], run: Path, queue: Mapping[str, str], now: float) -> Cell:
    """The state of a cell.

    Args:
        cell: of plan.json's ``cells``.
        plan: plan.json.
        run: the folder of the cell's run.
        queue: state of the cluster's jobs by comment, see ``queue.jobs``.
        now: Unix seconds.
    """
    env, progress = optional(run / "env.json"), optional(run / "progress.json")
    identity, steps = cell["identity"], int(cell["steps"])
    same = progress.get("identity") == identity
    trained = env.get("identity") == identity
    step = steps if trained else int(progress.get("step") or 0) if same else 0
    rate = progress.get("steps_per_second") if same else None
    if env.get("seconds") and (trained or not rate):
        rate = env.get("steps", 0) / env["seconds"]
    latest = progress if progress.get("seconds") is not None else env
    device, gpus = latest.get("device"), latest.get("gpus")
    gpus = gpus if gpus is not None else {"cpu": 0, "cuda": 1}.get(str(device))
    numbers = step, steps, rate or None, float(latest.get("seconds") or 0), gpus

    dead = living(progress, run, now) if progress.get("state") == "running" else ""
    if dead is None:
        return Cell("running", "" if same else "under another identity than planned", *numbers)
    waiting = waits(cell, queue)
    if trained:
        lacks, stale, failed = evaluation(cell, plan, run)
        if not lacks and not stale:
            return Cell("done", "", *numbers)
        if waiting:
            return Cell(waiting, "evaluation", *numbers)
        if failed:
            return Cell("failed", failed, *numbers)
        return Cell("stale", stale, *numbers) if stale else Cell("trained", f"lacks {lacks}", *numbers)
    if waiting:
        return Cell(waiting, "training", *numbers)
    if same and progress["state"] == "failed":
        return Cell("failed", str(progress.get("reason") or "no reason on record"), *numbers)
    if same and progress["state"] in ("running", "stopped"):
        return Cell("interrupted", dead or str(progress.get("reason") or "stopped by a signal"), *numbers)
    if reason := refusal(run / "train.log", run / "config.json"):
        return Cell("failed", reason, *numbers)
    awaited = awaits(cell, run)
    if env or progress:
        return Cell("stale", "trained under another identity" + (awaited and f", {awaited}"), *numbers)
    return Cell("missing", awaited, *numbers)


def awaits(cell: Mapping[str, Any], run: Path) -> str:
    """The upstream run that has to be trained before a cell's own, in words; empty where there is none."""
    above = upstream_run(run, cell)
    if above is None or environment(above, cell["upstream"]["identity"]):
        return ""
    return f"awaits {'/'.join(above.parts[-4:-1])}"


def waits(cell: Mapping[str, Any], queue: Mapping[str, str]) -> str | None:
    """``queued`` or ``running`` where the cluster has a job of this cell, else None."""
    names = "_".join(str(cell[key]) for key in ("dataset", "method", "augmentation", "variant", "seed"))
    found = {queue.get(f"rule_{rule}_wildcards_{names}") for rule in ("train", "train_generative", *METRICS)}
    for size in range(1, len(METRICS) + 1):
        for kinds in itertools.combinations(sorted(METRICS), size):
            found.add(queue.get(f"rule_evaluate_{names}_{'_'.join(kinds)}"))
    return "running" if "RUNNING" in found else "queued" if found - {None} else None


def evaluation(cell: Mapping[str, Any], plan: Mapping[str, Any], run: Path) -> tuple[str, str, str]:
    """What a trained run lacks, what is stale, and with which line an evaluation failed; each empty where nothing."""
    lacks, stale, failed = [], "", ""
    for kind in asked(plan, cell):
        name = FILES[kind][0]
        found = result(run / name)
        reason = None if found is None else fault(found, cell["identity"], plan["evaluation"][kind])
        if found is None:
            lacks.append(name)
        elif reason:
            stale = f"{name}: {reason}"
        if found is None or reason:
            failed = refusal(run / f"{kind}.log", run / "encoder.safetensors") or failed
    return ", ".join(lacks), stale or estranged(run, cell) or "", failed
