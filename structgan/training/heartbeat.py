"""Who trains a run: one process at a time, by a lock, and how far it is, in ``<run>/progress.json``.

The lock is flock(2) on ``<run>/lock``; the kernel releases it when its process ends, in any way. A file system that
several machines share must pass it on: NFS does, unless it is mounted with ``local_lock``, and Lustre does where it is
mounted with ``-o flock``. Where locks are refused, one line says so and the run is trained without.

No result depends on progress.json: a run whose file cannot be written trains on. If the file says "running" and its
process is gone, the run was killed.
"""

import contextlib
import fcntl
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from structgan.errors import UserError
from structgan.files import read_json, write_error, write_json
from structgan.training.preempt import Stopped

INTERVAL_S = 5.0
"""Between two writes of progress.json, at least."""
NAME = "progress.json"
WAIT_S = 60.0
"""Longer than Slurm's KillWait (30 s by default), after which a preempted process is gone and its lock with it."""


@contextlib.contextmanager
def lock(run: Path) -> Iterator[None]:
    """Hold the lock of a run's folder, after at most ``WAIT_S`` seconds of waiting for it.

    Raises:
        UserError: another process still holds it, or the file cannot be written.
    """
    path, deadline = run / "lock", 0.0
    try:
        path.touch()
    except OSError as error:
        raise write_error(error, path) from error
    with open(path, "rb") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if not deadline:
                    deadline = time.monotonic() + WAIT_S
                    print(f"{path}: held by {holder(run)}; waiting up to {WAIT_S:g} s", file=sys.stderr, flush=True)
                elif time.monotonic() >= deadline:
                    held = f"{path}: still held by {holder(run)} after {WAIT_S:g} s"
                    raise UserError(f"{held}; one process trains a run") from error
                time.sleep(0.2)
            except OSError as error:
                reason = error.strerror
                print(f"{path}: no lock on this file system ({reason}); train in one process only", file=sys.stderr)
                break
        yield


def holder(run: Path) -> str:
    """The process that trains a run, in words."""
    try:
        found = read_json(run / NAME)
        return f"process {found['pid']} on {found['host']}" + (f" (job {found['job']})" if found["job"] else "")
    except (UserError, KeyError, TypeError):
        return "another process"


@contextlib.contextmanager
def report(run: Path, config: Mapping[str, Any], device: str, gpus: int) -> Iterator[Callable[[int, float], None]]:
    """Keep a run's progress.json up to date, and say at the end how it ended: done, stopped or failed, and why.

    Yields the function to call with the steps done and the seconds of training, over all submissions. The rate counts
    from its first call. ``config`` is the run's config.json, and ``gpus`` how many of them it uses.
    """
    fields = {
        "identity": config["identity"],
        "state": "running",
        "step": 0,
        "steps": config["settings"]["training"]["steps"],
        "steps_per_second": None,
        "seconds": 0.0,
        "started": time.time(),
        "updated": time.time(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "job": os.environ.get("SLURM_JOB_ID"),
        "device": device,
        "gpus": gpus,
        "reason": None,
    }
    first: list[tuple[int, float]] = []

    def write() -> None:
        fields["updated"] = time.time()
        with contextlib.suppress(UserError):
            write_json(run / NAME, fields)

    def beat(step: int, seconds: float) -> None:
        first[:] = first or [(step, seconds)]
        fields.update(step=step, seconds=seconds)
        if seconds > first[0][1]:
            fields["steps_per_second"] = (step - first[0][0]) / (seconds - first[0][1])
        if time.time() - fields["updated"] >= INTERVAL_S:
            write()

    write()
    try:
        yield beat
        fields["state"] = "done"
    except Stopped as error:
        fields.update(state="stopped", reason=error.reason)
        raise
    except BaseException as error:
        line = next(iter(str(error).splitlines()), "")
        fields.update(
            state="failed", reason=line if isinstance(error, UserError) else f"{type(error).__name__}: {line}"
        )
        raise
    finally:
        write()
