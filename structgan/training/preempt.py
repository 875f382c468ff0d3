"""Signals that ask a training process to end: it finishes its step, saves, and exits with ``EXIT_CODE``.

SIGTERM comes before SIGKILL on a time limit, a preemption or a cancelled job, SIGUSR1 where the submission asks for an
early warning (``--signal=USR1@120``), SIGINT from a keyboard, SIGALRM from the process's own clock. Before the first
step there is nothing to save, and a signal ends the process at the next line of Python. A second SIGINT ends it at
once, which is safe: files are only ever replaced whole. A second SIGTERM does not: when a time limit is cut short,
Slurm sends SIGUSR1 and SIGTERM together, and then SIGKILL.

A step in progress is always finished, because half of its updates cannot be undone. Slurm's KillWait or the warning
time of ``--signal`` must cover one step and one save; otherwise the run goes on from the previous state.
"""

import os
import signal
import sys
from types import FrameType
from typing import Any, Self

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGALRM)
EXIT_CODE = 75
"""EX_TEMPFAIL of sysexits.h, "try again later": not 0, so that a scheduler submits again, and not a user's mistake."""


class Stopped(SystemExit):
    """A signal ended the process early; ``reason`` says which one. Its exit code is ``EXIT_CODE``."""

    def __init__(self, reason: str) -> None:
        super().__init__(EXIT_CODE)
        self.reason = reason


class Preemption:
    """Listens for ``SIGNALS`` while it is entered; must be entered in the main thread.

    Args:
        insist: whether a second SIGINT ends the process at once. False under a launcher: a scheduler signals all
            processes of a job, and the launcher passes the signal on once more.

    Attributes:
        received: the first signal that came, or None.
    """

    def __init__(self, insist: bool = True) -> None:
        self.insist = insist
        self.received: signal.Signals | None = None
        self._deferring = False
        self._before: dict[signal.Signals, Any] = {}

    def defer(self, seconds: float | None = None) -> None:
        """From here on a signal is only noted in ``received``; the caller decides when to end.

        Args:
            seconds: greater than 0; when they have passed, the process signals itself.
        """
        self._deferring = True
        if seconds:
            signal.setitimer(signal.ITIMER_REAL, seconds)

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = self.received or signal.Signals(number)  # a cluster's warning, and not the SIGTERM that follows
        if not self._deferring:
            raise Stopped(f"{self.received.name} before the first step")
        words = f"{signal.Signals(number).name}: finishing the step and saving"
        if number == signal.SIGINT and self.insist:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            words += "; a second Ctrl-C ends the process at once"
        os.write(sys.stderr.fileno(), f"{words}\n".encode())  # print() may be interrupted in a print()
