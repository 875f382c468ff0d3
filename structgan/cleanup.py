"""Deletes runs: those that no suite's newest plan names, and those that a user names.

A run that is being trained is never touched, and ``gc`` refuses while Snakemake works in this folder. A folder is first
renamed, then removed, so that no part of a run is ever left under its name.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from structgan import plan, provenance
from structgan.errors import UserError
from structgan.states import exists, optional, why_dead

DEPTH = "*/*/*/*/seed=*/*"
TRASH = ".deleted"


@dataclass(frozen=True)
class Garbage:
    """A run to delete: its folder, the reason, and its size in bytes."""

    folder: Path
    reason: str
    size: int


def unplanned() -> tuple[list[Garbage], dict[Path, str]]:
    """Runs that neither a suite's newest plan nor its tables' plan names, and those of them that are in use, and why.

    Raises:
        UserError: a plan is damaged, or a Snakemake works here.
    """
    if any(Path(".snakemake/locks").glob("*")):
        raise UserError("gc: a Snakemake works in this folder, or was killed (snakemake --unlock): nothing was deleted")
    plans = {each for file in plan.suites() for each in (file, *plan.tabled(file.parent.name))}
    planned = {Path(entry["run"]) for file in plans for entry in plan.read(file)["runs"]}
    folders = (folder for folder in sorted(provenance.RUNS.glob(DEPTH)) if folder.is_dir() and not folder.is_symlink())
    return sort((folder for folder in folders if folder not in planned), "in no plan")


def named(folders: Iterable[Path]) -> tuple[list[Garbage], dict[Path, str]]:
    """The runs of some folders, as ``unplanned`` gives them.

    Raises:
        UserError: a folder is not that of a run.
    """
    listed = list(folders)
    for folder in listed:
        place, runs = folder.resolve(), provenance.RUNS.resolve()
        inside = place.is_relative_to(runs) and len(place.relative_to(runs).parts) == 6
        if not inside or not (folder / "config.json").exists():
            raise UserError(f"{folder}: not the folder of a run ({provenance.RUNS}/…/seed=<seed>/<id>)")
    return sort(listed, "asked for")


def sort(folders: Iterable[Path], reason: str) -> tuple[list[Garbage], dict[Path, str]]:
    """Runs that may go for a reason, and those that are in use, with who uses them."""
    found: list[Garbage] = []
    used: dict[Path, str] = {}
    for folder in folders:
        if holder := user(folder):
            used[folder] = holder
        else:
            found.append(Garbage(folder, reason, size(folder)))
    return found, used


def user(folder: Path) -> str | None:
    """Why a run counts as in use; None if it is not."""
    progress = optional(folder / "progress.json")
    if progress.get("state") == "running":
        here = progress.get("host") == socket.gethostname()
        if why_dead(progress, folder, time.time()) is None or (here and exists(int(progress.get("pid") or 0))):
            return "it is being trained"
    try:
        with (folder / "lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except OSError:
        return "its lock is held"
    return None


def size(folder: Path) -> int:
    """Bytes of all files in a folder; links count as themselves."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir() or path.is_symlink())


def lines(garbage: list[Garbage], used: Mapping[Path, str]) -> list[str]:
    """A line for each run to delete and for each that is left alone, and the sum."""
    shown = [f"{entry.size / 1e6:10.1f} MB  {entry.folder}  ({entry.reason})" for entry in garbage]
    shown += [f"left alone: {folder} ({reason})" for folder, reason in used.items()]
    total = sum(entry.size for entry in garbage)
    return [*shown, f"{len(garbage)} runs, {total / 1e6:.1f} MB" if garbage else "nothing to delete"]


def delete(garbage: list[Garbage]) -> int:
    """Delete runs, except those that are in use by now; returns how many were deleted."""
    for left in provenance.RUNS.glob(f"{TRASH}-*"):  # of a process that was killed while it deleted
        shutil.rmtree(left, ignore_errors=True)
    gone = 0
    for number, entry in enumerate(garbage):
        if user(entry.folder):
            continue
        trash = provenance.RUNS / f"{TRASH}-{os.getpid()}-{number}"
        entry.folder.rename(trash)
        shutil.rmtree(trash)
        gone += 1
        for parent in list(entry.folder.parents)[:5]:
            if any(parent.iterdir()):
                break
            parent.rmdir()
    return gone
