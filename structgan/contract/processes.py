"""A run on several processes is that of one up to rounding: the same losses, under torchrun as rule train starts it."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from structgan import sources
from structgan.contract.subject import Broken, Subject
from structgan.files import read_json

STEPS, TOLERANCE = 3, 1e-3
LIMIT_S = 300


def agreement(size: int) -> Callable[[Subject], str]:
    """The check for runs of ``size`` processes."""

    def check(subject: Subject) -> str:
        histories = [history(subject, processes) for processes in (1, size)]
        for alone, shared in zip(*histories, strict=True):
            for name, value in alone["losses"].items():
                other = shared["losses"][name]
                if not math.isclose(value, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
                    raise Broken(
                        f"loss '{name}' of step {alone['step']} is {other:.5g} on {size} processes, {value:.5g} on one:"
                        " gather what couples the images of a batch, parallel.gather(z); draw with self.noise(n, ...)"
                    )
        return f"the losses of {STEPS} steps on {size} are those on one"

    return check


def history(subject: Subject, size: int) -> list[dict[str, dict[str, float]]]:
    """The history of a run of few steps, trained by the real command line on CPU."""
    folder = subject.start(f"processes{size}", steps=STEPS, log_every=1).folder
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(size), "-m", "--"]
    verb = ["structgan", "train", "--run", str(folder), "--data", str(subject.data), "--device", "cpu"]
    path = os.pathsep.join([str(sources.ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, *(torchrun if size > 1 else ["-m"]), *verb],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("structgan") or "Error: " in line]
        raise Broken(f"training on {size} processes fails: {(lines or ['no reason given'])[0][:300]}")
    records: list[dict[str, dict[str, float]]] = read_json(Path(folder) / "history.json")["records"]
    return records
