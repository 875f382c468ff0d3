"""``<run>/progress.json``: what a training process reports while it runs, at most every 5 s.

No result depends on it: a run whose file cannot be written trains on. If the file says "running" and its process is
gone, the run was killed.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from structgan.errors import UserError
from structgan.files import read_json, write_json
from structgan.training import lock
from structgan.training.preempt import Stopped

INTERVAL_S = 5.0
NAME = "progress.json"


class Heartbeat:
    """Writes progress.json while it is entered, and at its end how it ended: done, stopped or failed, and why.

    Args:
        run: the run's folder.
        config: its config.json.
        device: "cpu" or "cuda".
        gpus: how many of them the run uses, 0 on a CPU.
    """

    def __init__(self, run: Path, config: Mapping[str, Any], device: str, gpus: int) -> None:
        self.path = run / NAME
        self.fields: dict[str, Any] = {
            "identity": config["identity"],
            "state": "running",
            "step": 0,
            "steps": config["settings"]["training"]["steps"],
            "steps_per_second": None,
            "seconds": 0.0,
            "started": time.time(),
            "updated": time.time(),
            **lock.whereabouts(),
            "device": device.split(":")[0],
            "gpus": gpus,
            "reason": None,
        }
        self._written = 0.0
        self._first: tuple[int, float] | None = None

    def __enter__(self) -> Self:
        with contextlib.suppress(UserError, KeyError, TypeError):
            before = read_json(self.path)
            if before["identity"] == self.fields["identity"]:
                self.fields |= {"step": before["step"], "seconds": before["seconds"]}
        self._write()
        return self

    def beat(self, step: int, seconds: float) -> None:
        """Report progress; the first call of a submission sets where its rate is counted from.

        Args:
            step: updates done.
            seconds: training time over all submissions.
        """
        self._first = self._first or (step, seconds)
        self.fields |= {"step": step, "seconds": seconds}
        if seconds > self._first[1]:
            self.fields["steps_per_second"] = (step - self._first[0]) / (seconds - self._first[1])
        if time.monotonic() - self._written >= INTERVAL_S:
            self._write()

    def _write(self) -> None:
        self._written, self.fields["updated"] = time.monotonic(), time.time()
        with contextlib.suppress(UserError):
            write_json(self.path, self.fields)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.fields["state"] = "done"
        elif isinstance(error, Stopped):
            self.fields |= {"state": "stopped", "reason": error.reason}
        else:
            line = next(iter(str(error).splitlines()), "")
            reason = line if isinstance(error, UserError) else f"{type(error).__name__}: {line}"
            self.fields |= {"state": "failed", "reason": reason}
        self._write()
