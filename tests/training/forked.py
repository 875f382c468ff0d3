"""Training in processes of their own that start in milliseconds: forked from a server that has torch imported.

A child runs the real command line and can really be killed; what it prints goes to ``<run>/../<run name>.log``.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["structgan.cli", "structgan.train", "lightly.loss", "lightly.models.modules", "torch._dynamo"]
)
LIMIT_S = 120


def log(run: Path) -> Path:
    return run.with_name(f"{run.name}.log")


def write_to(log):
    """Append to a file all that the process prints from now on."""
    with log.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


def command_line(run, data, arguments, prepare):
    write_to(log(run))
    from structgan import cli

    prepare()
    sys.argv = ["structgan", "train", "--run", str(run), "--data", str(data), "--device", "cpu", *arguments]
    cli.main()


def nothing():
    pass


def crash_at(call):
    """Before call number ``call`` that writes, renames or removes a file, the process kills itself.

    Returns:
        A function that returns how many such calls there were.
    """
    calls = 0

    def crashing(function):
        def run(*arguments, **keywords):
            nonlocal calls
            calls += 1
            if calls == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **keywords)

        return run

    for name in ("fsync", "chmod", "replace"):
        setattr(os, name, crashing(getattr(os, name)))
    Path.unlink = crashing(Path.unlink)
    return lambda: calls


def stall():
    """From its third batch on the process does nothing, as in a step that takes very long."""
    from structgan.train import Batches

    proceed, count = Batches.__next__, 0

    def wait(self):
        nonlocal count
        count += 1
        if count == 3:
            print("stalled", flush=True)
            for _ in range(1000 * LIMIT_S):  # one long sleep would not see a signal that comes just before it
                time.sleep(0.01)
        return proceed(self)

    Batches.__next__ = wait


class Training:
    """A child that trains; its output is appended to the log."""

    def __init__(self, run, data, *arguments, prepare=nothing):
        self.run = run
        self.process = CONTEXT.Process(target=command_line, args=(run, data, arguments, prepare))
        self.process.start()

    def said(self):
        return log(self.run).read_text() if log(self.run).exists() else ""

    def until(self, happened):
        """Wait until ``happened()``; False when the process ended before."""
        deadline = time.monotonic() + LIMIT_S
        while not happened():
            if self.process.exitcode is not None:
                return False
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.0002)
        return True

    def send(self, number):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, number)

    def kill(self):
        """SIGKILL; whether it came before the process had ended by itself."""
        self.send(signal.SIGKILL)
        return self.end() == -signal.SIGKILL

    def end(self):
        """Its exit code, once it has ended."""
        self.process.join(LIMIT_S)
        assert self.process.exitcode is not None, self.said()
        return self.process.exitcode
