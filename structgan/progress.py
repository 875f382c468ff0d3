"""Progress of long work: a live bar with rate and time left on a terminal, plain lines in a log."""

import sys
import time
from typing import Any, Self

INTERVAL_S = 10.0


class Progress:
    """Counts units of work and says how they go.

    On a terminal rich draws a bar. Elsewhere at most one line every ``INTERVAL_S`` seconds goes to standard error, so
    that a cluster log stays readable.

    Args:
        title: what is being done.
        total: number of units, or None where it is unknown.
        unit: name of one unit, such as ``"step"``.
        done: units that were already done (a resumed run).
        quiet: say nothing.
    """

    def __init__(self, title: str, total: int | None, unit: str = "step", done: int = 0, quiet: bool = False) -> None:
        self.title, self.total, self.unit, self.quiet = title, total, unit, quiet
        self.done = self._first = done
        self._begin = self._last = time.monotonic()
        self._values: dict[str, str] = {}
        self._bar: Any = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty() and not self.quiet:
            from rich.console import Console
            from rich.progress import Progress as Bar
            from rich.progress import TextColumn

            self._bar = Bar(*Bar.get_default_columns(), TextColumn("{task.fields[note]}"), console=Console(stderr=True))
            self._bar.add_task(self.title, total=self.total, completed=self.done, note="")
            self._bar.start()
        return self

    def advance(self, units: int = 1, **values: float | str) -> None:
        """Count ``units`` more; ``values`` (losses and the like) are shown until they are given again."""
        self.done += units
        self._values |= {key: f"{value:.3g}" if isinstance(value, float) else value for key, value in values.items()}
        elapsed = time.monotonic() - self._begin
        rate = (self.done - self._first) / max(elapsed, 1e-9)
        note = "  ".join([f"{rate:.3g} {self.unit}/s", *(f"{key} {value}" for key, value in self._values.items())])
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=self.done, note=note)
        elif not self.quiet and (time.monotonic() - self._last >= INTERVAL_S or self.done == self.total):
            self._last = time.monotonic()
            count = f"{self.done}/{self.total}" if self.total else f"{self.done}"
            left = (self.total - self.done) / max(rate, 1e-9) if self.total else 0
            words = f"{elapsed:.0f} s" if self.done == self.total else f"{left:.0f} s left" if self.total else ""
            print(f"{self.title}: {count} {self.unit}s  {note}  {words}".rstrip(), file=sys.stderr, flush=True)

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()
