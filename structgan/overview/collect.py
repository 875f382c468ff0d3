"""Runs that may go: those that no plan names, and those with results of another identity than planned.

A run in use is never touched: neither where its progress.json says that it lives, nor where its lock is held, nor where
a planning process such as a running Snakemake holds its suite. A folder is first renamed, then removed, so that no half
of a run is ever left under its name.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from structgan.files import read_json
from structgan.identity import claims
from structgan.identity.standing import header, optional
from structgan.overview.judge import exists, living

RUNS = Path("results/runs")
DEPTH = "*/*/*/*/*/seed=*"
TRASH = ".deleted"
OWN = ("env.json", "progress.json")
"""Files of a run that say under which identity it was trained."""


@dataclass(frozen=True)
class Garbage:
    """A run that may go: its folder, why, and its size in bytes."""

    folder: Path
    reason: str
    size: int


def find(root: Path = RUNS) -> tuple[list[Garbage], dict[Path, str]]:
    """Runs that may go, and those that would but are in use, by whom.

    Raises:
        UserError: a plan.json is damaged; nothing is judged without it.
    """
    planned: dict[Path, Any] = {}
    for file in sorted(root.glob("*/plan.json")):
        planned |= {root.parent.parent / cell["run"]: cell["identity"] for cell in read_json(file)["cells"]}
    found: list[Garbage] = []
    used: dict[Path, str] = {}
    for folder in sorted(root.glob(DEPTH)):
        if folder.is_symlink() or not folder.is_dir():
            continue
        reason = "in no plan" if folder not in planned else foreign(folder, planned[folder])
        if reason and (holder := user(folder)):
            used[folder] = holder
        elif reason:
            found.append(Garbage(folder, reason, sum(size(folder))))
    return found, used


def foreign(folder: Path, identity: str) -> str | None:
    """Why the results of a planned run are not the plan's, in words; None where they are, or where there are none."""
    marks = [optional(folder / name).get("identity") for name in OWN]
    marks += [header(file).get("identity") for file in sorted(folder.glob("*.safetensors"))]
    marks = [mark for mark in marks if mark]
    return "results of another identity" if marks and identity not in marks else None


def user(folder: Path) -> str | None:
    """Who uses a run, in words; when in doubt, someone does. None where nobody does."""
    if holder := claims.claim(f"suite-{folder.parents[4].name}"):
        return f"its suite is in use by {holder}"
    progress = optional(folder / "progress.json")
    if progress.get("state") == "running":
        here = progress.get("host") == socket.gethostname()
        if living(progress, folder, time.time()) is None or (here and exists(int(progress.get("pid") or 0))):
            return "it is being trained"
    try:
        with (folder / "lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except OSError:
        return "its lock is held"
    return None


def size(folder: Path) -> Iterator[int]:
    """Bytes of each file in a folder; links count as themselves."""
    for parent, _, names in os.walk(folder):
        yield from (os.lstat(os.path.join(parent, name)).st_size for name in names)  # noqa: PTH118


def lines(garbage: list[Garbage], used: Mapping[Path, str]) -> list[str]:
    """What may go and what is left alone, a line each, and the sum."""
    shown = [f"{entry.size / 1e6:10.1f} MB  {entry.folder}  ({entry.reason})" for entry in garbage]
    shown += [f"left alone: {folder} ({reason})" for folder, reason in used.items()]
    total = sum(entry.size for entry in garbage)
    return [*shown, f"{len(garbage)} runs, {total / 1e6:.1f} MB" if garbage else "nothing to delete"]


def delete(garbage: list[Garbage], root: Path = RUNS) -> int:
    """Delete runs, but for those that have come to life since; returns how many went."""
    gone = 0
    for number, entry in enumerate(garbage):
        if user(entry.folder):
            continue
        trash = root / f"{TRASH}-{os.getpid()}-{number}"
        entry.folder.rename(trash)
        shutil.rmtree(trash)
        gone += 1
        for parent in list(entry.folder.parents)[:4]:
            if any(parent.iterdir()):
                break
            parent.rmdir()
    return gone
