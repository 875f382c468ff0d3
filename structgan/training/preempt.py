"""Signals that ask a training process to end: it finishes its step, saves, and exits with ``EXIT_CODE``.

SIGTERM comes before SIGKILL on a time limit, a preemption or a cancelled job, SIGUSR1 where the submission asks for an
early warning (``--signal=USR1@120``), SIGINT from a keyboard, SIGALRM from the process's own clock where the user gave
it a number of minutes. Before the first step there is nothing to save, and a signal ends the process at the next line
of Python. A second SIGINT ends it at once, which is safe: files are only ever replaced whole. A second SIGTERM does
not: when a time limit is cut short, Slurm sends SIGUSR1 and SIGTERM together, and then SIGKILL.

A step in progress is always finished, because half of its updates cannot be undone. The time between SIGTERM and
SIGKILL (Slurm's KillWait) or the warning time of ``--signal`` must cover one step and one save; otherwise the run goes
on from the previous state, and nothing is damaged.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any, Self

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGALRM)
EXIT_CODE = 75
"""EX_TEMPFAIL of sysexits.h, "try again later": not 0, so that a scheduler submits again, and not a user's mistake."""


class Stopped(SystemExit):
    """A signal ended the process early; the message says which one. Its exit code is ``EXIT_CODE``."""

    def __init__(self, reason: str) -> None:
        super().__init__(EXIT_CODE)
        self.reason = reason


class Preemption:
    """Listens for ``SIGNALS`` while it is entered; must be entered in the main thread.

    A thread reads the signals' numbers as they come, so that a second one is heard while the first still waits for
    an operation of PyTorch to end.

    Args:
        insist: whether a second SIGINT ends the process at once. False under a launcher: a scheduler signals all
            processes of a job, and the launcher passes the signal on once more.
    """

    def __init__(self, insist: bool = True) -> None:
        self.insist = insist
        self.received: signal.Signals | None = None
        self._deferring = False
        self._before: dict[signal.Signals, Any] = {}

    @property
    def reason(self) -> str:
        """The name of the signal that came, or an empty string: true once the process is asked to end."""
        return self.received.name if self.received else ""

    def defer(self, seconds: float | None = None) -> None:
        """From here on a first signal is only noted in ``reason``; the caller decides when to end.

        Args:
            seconds: greater than 0; when they have passed, the process signals itself.
        """
        self._deferring = True
        if seconds:
            signal.setitimer(signal.ITIMER_REAL, seconds)

    def __enter__(self) -> Self:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        self._wakeup = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        os.write(self._writer, b"\0")
        self._thread.join()
        os.close(self._reader)
        os.close(self._writer)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = self.received or signal.Signals(number)  # a cluster's warning, and not the SIGTERM that follows
        if not self._deferring:
            raise Stopped(f"{self.reason} before the first step")

    def _watch(self) -> None:
        """End the process on a second SIGINT; a zero byte, which is no signal's number, ends the thread."""
        interrupts = 0
        while number := os.read(self._reader, 1)[0]:
            interrupts += number == signal.SIGINT
            if interrupts == 2 and self.insist:
                os._exit(128 + number)
            words = "finishing the step and saving" + "; a second Ctrl-C ends the process at once" * self.insist
            print(f"{signal.Signals(number).name}: {words}", file=sys.stderr, flush=True)
