"""Deletes runs: those that no suite's newest plan names, and those that a user names.

A run that is being trained is never touched, and ``gc`` refuses while Snakemake works in this folder. A folder is first
renamed, then removed, so that no part of a run is ever left under its name.
"""

import fcntl
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import click

from structgan import plan, provenance
from structgan.errors import UserError
from structgan.states import exists, optional, why_dead

TRASH = ".deleted"


Found = tuple[dict[Path, int], dict[Path, str]]
"""Runs that may go with their size in bytes, and those that are in use with the reason."""


def unplanned() -> Found:
    """Runs that neither a suite's newest plan nor its tables' plan names."""
    if any(Path(".snakemake/locks").glob("*")):
        raise UserError("gc: a Snakemake works in this folder, or was killed (snakemake --unlock): nothing was deleted")
    plans = {each for file in plan.suites() for each in (file, *tabled(file.parent.name))}
    planned = {Path(entry["run"]) for file in plans for entry in plan.read(file)["runs"]}
    folders = (folder for folder in sorted(provenance.RUNS.glob("*/*/*/*/seed=*/*")) if folder not in planned)
    return split(folder for folder in folders if folder.is_dir() and not folder.is_symlink())


def tabled(suite: str) -> list[Path]:
    """The plans that the tables and figures of a suite were made from, as far as they are here."""
    made = Path("results").glob(f"*/{suite}/made_from-*.json")
    paths = {provenance.PLANS / suite / f"{path.stem.removeprefix('made_from-')}.json" for path in made}
    return sorted(path for path in paths if path.exists())


def named(folders: Sequence[Path]) -> Found:
    """The runs of some folders."""
    for folder in folders:
        inside = folder.resolve().parents[5:6] == (provenance.RUNS.resolve(),)
        if not inside or not (folder / "config.json").exists():
            raise UserError(f"{folder}: not the folder of a run ({provenance.RUNS}/…/seed=<seed>/<id>)")
    return split(folders)


def split(folders: Iterable[Path]) -> Found:
    """Runs that may go, and those that are in use."""
    found: dict[Path, int] = {}
    used: dict[Path, str] = {}
    for folder in folders:
        if why := in_use(folder):
            used[folder] = why
        else:
            files = (path for path in folder.rglob("*") if not path.is_dir() or path.is_symlink())
            found[folder] = sum(path.lstat().st_size for path in files)
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


def lines(found: Mapping[Path, int], used: Mapping[Path, str]) -> list[str]:
    """A line for each run to delete and for each that is left alone, and the sum."""
    shown = [f"{size / 1e6:10.1f} MB  {folder}" for folder, size in found.items()]
    shown += [f"left alone: {folder} ({reason})" for folder, reason in used.items()]
    return [*shown, f"{len(found)} runs, {sum(found.values()) / 1e6:.1f} MB" if found else "nothing to delete"]


def confirm_and_delete(found: Mapping[Path, int], used: Mapping[Path, str], yes: bool) -> None:
    """Show what may go, ask unless ``yes``, and delete it."""
    click.echo("\n".join(lines(found, used)))
    if found and not yes:
        if not sys.stdin.isatty():
            raise UserError("no terminal to ask on; nothing was deleted, --yes deletes without asking")
        click.confirm(f"Delete {len(found)} runs?", abort=True)
    if found:
        click.echo(f"{delete(found)} runs deleted")


def delete(folders: Iterable[Path]) -> int:
    """Delete runs, except those that are in use by now; returns how many were deleted."""
    for left in provenance.RUNS.glob(f"{TRASH}-*"):  # of a process that was killed while it deleted
        shutil.rmtree(left, ignore_errors=True)
    gone = 0
    for folder in (folder for folder in folders if not in_use(folder)):
        trash = provenance.RUNS / f"{TRASH}-{os.getpid()}-{gone}"
        folder.rename(trash)
        shutil.rmtree(trash)
        gone += 1
        for parent in list(folder.parents)[:5]:
            if not any(parent.iterdir()):
                parent.rmdir()
    return gone
