"""``structgan watch``: a line for each training that runs, below what a command such as snakemake prints. No torch."""

import contextlib
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from structgan import provenance, states

REFRESH_S, INTERVAL_S = 2.0, 30.0
"""Seconds between two looks, on a terminal and elsewhere."""
LAST = 20
"""Lines of a failed job's log."""
RULER = re.compile(r"={3,}\s*")
LOSSES = re.compile(r" step/s  (.+)  \d+ s left$", re.MULTILINE)


def watch(command: Sequence[str]) -> int:
    """Run a command, pass on what it prints, and return its exit code; without one, look until Ctrl-C.

    On a terminal the lines stay at the bottom; elsewhere they are repeated every ``INTERVAL_S`` where they changed. A
    Ctrl-C reaches the command, which says when it has ended.
    """
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(stderr=True)
    if console.is_terminal and not console.is_dumb_terminal:
        shown: Any = Live(
            get_renderable=lambda: Text("\n".join(trainings()), no_wrap=True, overflow="ellipsis"),
            console=console, refresh_per_second=1 / REFRESH_S, transient=True,
        )  # fmt: skip
    else:
        shown = repeated()
    with shown:
        if not command:
            with contextlib.suppress(KeyboardInterrupt):
                threading.Event().wait()
            return 0
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace"
        )
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        for line in shortened(process.stdout or ()):
            console.print(line, end="", markup=False, highlight=False, soft_wrap=True)
        code = process.wait()
    return code if code >= 0 else 128 - code


@contextlib.contextmanager
def repeated() -> Iterator[None]:
    """Say every ``INTERVAL_S`` how the trainings go, those that went on."""
    ended = threading.Event()

    def say() -> None:
        told = list[str]()
        while True:
            lines = trainings()
            for line in (line for line in lines if line not in told):
                print(line, file=sys.stderr, flush=True)
            told = lines
            if ended.wait(INTERVAL_S):
                return

    thread = threading.Thread(target=say, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def shortened(lines: Iterable[str]) -> Iterator[str]:
    """What Snakemake prints, and of each failed job's log the last lines."""
    kept: deque[str] | None = None
    before = ""
    for line in lines:
        if kept is not None and not RULER.fullmatch(line):
            kept.append(line)
            continue
        yield from kept or ()
        yield line
        kept = deque(maxlen=LAST) if kept is None and RULER.fullmatch(line) and "Logfile " in before else None
        before = line
    yield from kept or ()


def trainings() -> list[str]:
    """A line for each run that is being trained in the working directory."""
    found, now = [], time.time()
    for path in sorted(provenance.RUNS.glob("*/*/*/*/*/*/progress.json")):
        told = states.optional(path)
        if told.get("state") == "running" and not states.why_dead(told, path.parent, now):
            found.append(line_of(path.parent, told))
    return found


def line_of(run: Path, told: Mapping[str, Any]) -> str:
    """``digits_gradient/simclr/none/base/seed=0: 98/195 steps  3.2 steps/s  0:00:30 left  nt_xent 2.9``."""
    step, steps, rate = told.get("step") or 0, told.get("steps") or 0, told.get("steps_per_second")
    words = [f"{step}/{steps} steps"]
    if rate:
        words += [f"{rate:.3g} steps/s", f"{timedelta(seconds=round((steps - step) / rate))} left"]
    words += LOSSES.findall(states.tail(run / "train.log"))[-1:]
    return f"{'/'.join(run.parts[-6:-1])}: {'  '.join(words)}"
