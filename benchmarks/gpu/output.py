"""What was asked for, the folder for the results, and the clock of a short run."""

import faulthandler
import math
import os
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from structgan.errors import UserError
from structgan.files import write_json

T = TypeVar("T")
BEGIN = time.monotonic()
CHECKS_END, SPEED_END, CURVES_END = 0.08, 0.18, 0.88
"""Ends of the first three parts, in shares of the deadline; a part that ends early gives its time to the next."""


@dataclass(frozen=True)
class Options:
    """What was asked for. Times are in seconds."""

    data: Path
    device: str
    deadline: float
    small: bool
    check: tuple[str, ...]
    compiled: bool = False
    precision: str = "bfloat16"
    batch: int = 512
    speed_batches: tuple[int, ...] = (512, 64)
    reference_batch: int = 128
    image_size: int = 32
    slice: float = 15.0
    rounds: int | None = None


REHEARSAL: dict[str, Any] = {
    "precision": "float32", "batch": 16, "speed_batches": (8,), "reference_batch": 2, "image_size": 16, "slice": 0.25,
    "rounds": 2,
}  # fmt: skip
"""What ``--small`` changes; few CPUs have bfloat16 instructions."""


class Output:
    """The folder that is brought home, and the clock.

    Attributes:
        found: for result.json; ``done``, ``failed`` and ``not_reached`` say how each part ended.
        scratch: for files that nobody needs afterwards.
    """

    def __init__(self, folder: Path, scratch: Path, options: Options) -> None:
        self.folder, self.scratch, self.options = folder, scratch, options
        if (folder / "result.json").exists() or (folder / "curve.jsonl").exists():
            raise UserError(f"{folder}: has results already; name a new folder with --out")
        folder.mkdir(parents=True, exist_ok=True)
        self.found: dict[str, Any] = {"done": [], "failed": {}, "not_reached": []}
        self.found |= {"ceilings": {}, "checks": {}, "steps": [], "final": []}
        faulthandler.enable((folder / "log.txt").open("a"))

    def left(self, share: float = 1.0) -> float:
        """Seconds until a share of the deadline is over."""
        return share * self.options.deadline - self.now()

    def now(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - BEGIN

    def append(self, name: str, text: str) -> None:
        """Add to a file and bring it to the disk."""
        with (self.folder / name).open("a", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())

    def say(self, text: str) -> None:
        """Add a line with the time to the log."""
        line = f"{self.now():6.1f} s  {text}\n"
        sys.stderr.write(line)
        self.append("log.txt", line)

    def save(self) -> None:
        """Write result.json."""
        write_json(self.folder / "result.json", finite(self.found) | {"seconds": self.now()})

    def attempt(self, what: str, share: float, work: Callable[..., T], *arguments: Any) -> T | None:
        """Do a part if a share of the deadline is not over; None if there was no time, or the part failed."""
        if self.left(share) <= 0:
            self.found["not_reached"].append(what)
            return None
        begin, found = self.now(), None
        try:
            found = work(*arguments)
            self.found["done"].append(what)
            self.say(f"{what}: {self.now() - begin:.1f} s")
        except Exception as error:
            self.found["failed"][what] = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:300]}"
            self.say(f"{what} failed\n{traceback.format_exc()}")
        self.save()
        return found


def finite(value: Any) -> Any:
    """The same with None for numbers that JSON cannot hold."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
