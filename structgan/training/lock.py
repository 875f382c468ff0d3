"""One process at a time trains a run: an advisory lock on a file of its folder.

The lock is flock(2) on ``<run>/lock``; the kernel releases it when its process ends, in any way. The file stays, with
the holder's host and process in it: deleting it would let two processes hold locks on two files of one name.

A file system that several machines share must pass the lock on. NFS does since Linux 2.6.12 (flock(2), "NFS details"),
unless it is mounted with ``local_lock``; Lustre does where it is mounted with ``-o flock``, and only within one machine
with ``-o localflock`` (Lustre manual, "Flock Feature"). Where locks are refused altogether, one line says so and the
run is trained without.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from structgan.errors import UserError
from structgan.files import write_error

WAIT_S = 60.0
"""Longer than Slurm's KillWait (30 s by default), after which a preempted process is gone and its lock with it."""
POLL_S = 0.2


@contextlib.contextmanager
def held(run: Path) -> Iterator[None]:
    """Hold the lock of a run's folder, after at most ``WAIT_S`` seconds of waiting for it.

    Raises:
        UserError: another process still holds it, or the file cannot be written.
    """
    path = run / "lock"
    try:
        path.touch()
    except OSError as error:
        raise write_error(error, path) from error
    with open(path, "r+", encoding="utf-8") as file:
        try:
            acquire(file, path)
        except OSError as error:
            print(f"{path}: no lock on this file system ({error.strerror}); train in one process only", file=sys.stderr)
        write_holder(file)
        try:
            yield
        finally:
            file.truncate(0)


def acquire(file: TextIO, path: Path) -> None:
    """Take the lock, waiting where another process has it.

    Raises:
        UserError: it is not free in time.
        OSError: the file system has no locks.
    """
    deadline, told = time.monotonic() + WAIT_S, False
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                raise UserError(
                    f"{path}: still held by {holder(file)} after {WAIT_S:g} s; one process trains a run"
                ) from error
        if not told:
            print(f"{path}: held by {holder(file)}; waiting up to {WAIT_S:g} s", file=sys.stderr, flush=True)
            told = True
        time.sleep(POLL_S)


def holder(file: TextIO) -> str:
    """Who holds the lock, in words."""
    file.seek(0)
    try:
        found = json.loads(file.read())
        return f"process {found['pid']} on {found['host']}" + (f" (job {found['job']})" if found["job"] else "")
    except (ValueError, KeyError, TypeError):
        return "another process"


def write_holder(file: TextIO) -> None:
    """Write into the file who holds the lock; a full disk is ignored."""
    with contextlib.suppress(OSError):
        file.seek(0)
        file.truncate()
        file.write(json.dumps(whereabouts()))
        file.flush()


def whereabouts() -> dict[str, str | int | None]:
    """This process as another machine can find it: host, pid, and the Slurm job or None."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "job": os.environ.get("SLURM_JOB_ID")}
