"""Deletes runs: those that no suite's newest plan names, and those that a user names.

A run that is being trained is never touched, and ``gc`` refuses while Snakemake works in this folder. A folder is first
renamed, then removed, so that no part of a run is ever left under its name.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import click

from structgan import plan, provenance
from structgan.errors import UserError
from structgan.states import exists, optional, why_dead

TRASH = ".deleted"


class Garbage(NamedTuple):
    """A run to delete: its folder, the reason, and its size in bytes."""

    folder: Path
    reason: str
    size: int


Found = tuple[list[Garbage], dict[Path, str]]
"""Runs that may go, and those that are in use and why."""


def unplanned() -> Found:
    """Runs that neither a suite's newest plan nor its tables' plan names."""
    if any(Path(".snakemake/locks").glob("*")):
        raise UserError("gc: a Snakemake works in this folder, or was killed (snakemake --unlock): nothing was deleted")
    plans = {each for file in plan.suites() for each in (file, *plan.tabled(file.parent.name))}
    planned = {Path(entry["run"]) for file in plans for entry in plan.read(file)["runs"]}
    folders = (folder for folder in sorted(provenance.RUNS.glob("*/*/*/*/seed=*/*")) if folder not in planned)
    return split((folder for folder in folders if folder.is_dir() and not folder.is_symlink()), "in no plan")


def named(folders: Iterable[Path]) -> Found:
    """The runs of some folders."""
    listed, runs = list(folders), provenance.RUNS.resolve()
    for folder in listed:
        if folder.resolve().parents[5:6] != (runs,) or not (folder / "config.json").exists():
            raise UserError(f"{folder}: not the folder of a run ({provenance.RUNS}/…/seed=<seed>/<id>)")
    return split(listed, "asked for")


def split(folders: Iterable[Path], reason: str) -> Found:
    """Runs that may go for a reason, and those that are in use."""
    found: list[Garbage] = []
    used: dict[Path, str] = {}
    for folder in folders:
        if why := in_use(folder):
            used[folder] = why
        else:
            size = sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir() or path.is_symlink())
            found.append(Garbage(folder, reason, size))
    return found, used


def in_use(folder: Path) -> str | None:
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


def lines(garbage: list[Garbage], used: Mapping[Path, str]) -> list[str]:
    """A line for each run to delete and for each that is left alone, and the sum."""
    shown = [f"{entry.size / 1e6:10.1f} MB  {entry.folder}  ({entry.reason})" for entry in garbage]
    shown += [f"left alone: {folder} ({reason})" for folder, reason in used.items()]
    total = sum(entry.size for entry in garbage)
    return [*shown, f"{len(garbage)} runs, {total / 1e6:.1f} MB" if garbage else "nothing to delete"]


def confirm_and_delete(garbage: list[Garbage], used: Mapping[Path, str], yes: bool) -> None:
    """Show what may go, ask unless ``yes``, and delete it."""
    click.echo("\n".join(lines(garbage, used)))
    if garbage and not yes:
        if not sys.stdin.isatty():
            raise UserError("no terminal to ask on; nothing was deleted, --yes deletes without asking")
        click.confirm(f"Delete {len(garbage)} runs?", abort=True)
    if garbage:
        click.echo(f"{delete(garbage)} runs deleted")


def delete(garbage: list[Garbage]) -> int:
    """Delete runs, except those that are in use by now; returns how many were deleted."""
    for left in provenance.RUNS.glob(f"{TRASH}-*"):  # of a process that was killed while it deleted
        shutil.rmtree(left, ignore_errors=True)
    gone = 0
    for folder in (entry.folder for entry in garbage if not in_use(entry.folder)):
        trash = provenance.RUNS / f"{TRASH}-{os.getpid()}-{gone}"
        folder.rename(trash)
        shutil.rmtree(trash)
        gone += 1
        for parent in list(folder.parents)[:5]:
            if not any(parent.iterdir()):
                parent.rmdir()
    return gone
