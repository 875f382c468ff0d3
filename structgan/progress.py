"""Progress of long work: a live bar with rate and time left on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Self


class Progress:
    """Counts units of work and says how they go.

    On a terminal a bar is drawn with rich; elsewhere at most one line every ``interval_s`` seconds is written to
    standard error, so that a cluster log stays readable.

    Args:
        title: what is being done.
        total: number of units, or None where it is unknown.
        unit: name of one unit, such as ``"step"``.
        done: units that were already done (a resumed run).
        interval_s: seconds between two lines of a log.
        quiet: say nothing.
    """

    def __init__(
        self,
        title: str,
        total: int | None,
        unit: str = "step",
        done: int = 0,
        interval_s: float = 10.0,
        quiet: bool = False,
    ) -> None:
        self.title, self.total, self.unit, self.interval_s, self.quiet = title, total, unit, interval_s, quiet
        self.done = self._first = done
        self._begin = self._last = time.monotonic()
        self._values: dict[str, float | str] = {}
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty() and not self.quiet:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task(self.title, total=self.total, completed=self.done, note="")
            self._bar.start()
        return self

    def advance(self, units: int = 1, **values: float | str) -> None:
        """Count ``units`` more; ``values`` (losses and the like) are shown until they are given again."""
        self.done += units
        self._values |= values
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, note=self._note())
        elif not self.quiet and (time.monotonic() - self._last >= self.interval_s or self.done == self.total):
            self._last = time.monotonic()
            self._print()

    def _note(self) -> str:
        rate = (self.done - self._first) / max(time.monotonic() - self._begin, 1e-9)
        shown = [f"{rate:.3g} {self.unit}/s"]
        shown += [
            f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}"
            for key, value in self._values.items()
        ]
        return "  ".join(shown)

    def _print(self) -> None:
        elapsed = time.monotonic() - self._begin
        left = ""
        if self.total and self.done > self._first:
            seconds = elapsed / (self.done - self._first) * (self.total - self.done)
            left = f"  {seconds:.0f} s left" if self.done < self.total else f"  {elapsed:.0f} s"
        total = f"/{self.total}" if self.total else ""
        print(f"{self.title}: {self.done}{total} {self.unit}s  {self._note()}{left}", file=sys.stderr, flush=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
