"""What a command costs before it does its work: whole commands, timed from outside.

``python -m benchmarks.overhead --json FILE``. ``train`` is the demo's structural run with a single step: start,
imports, data, networks, the step and publishing, so more than the time from start to first step. ``probe`` and
``fidelity`` are imported as their jobs import them, without a run to read.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import timing
from structgan import config, datasets
from structgan.sources import ROOT

IMPORTS = {
    "probe": "import structgan.evaluation.probe, structgan.datasets, structgan.method, structgan.environment",
    "fidelity": "import structgan.evaluation.fidelity, structgan.datasets, structgan.method, structgan.environment",
}


def run(*arguments: str) -> None:
    """One command of Python to its end."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)}: {done.stderr[-2000:]}")


def training(folder: Path) -> tuple[str, ...]:
    """The command that trains a run of one step, with its data prepared and its config.json written."""
    demo = config.load([ROOT / "workflow/config/demo.yaml"])
    demo["training"] |= {"steps": 1, "log_every": 1, "save_every": 1}
    cell = {"dataset": "digits", "method": "structural", "augmentation": "none", "variant": "full", "seed": 0}
    data, place = folder / "digits.safetensors", folder / "run"
    datasets.prepare({"name": "digits", **demo["datasets"]["digits"]}, data, folder)
    place.mkdir()
    (place / "config.json").write_text(json.dumps(config.run_config(demo, cell)))
    return ("-m", "structgan", "train", "--run", str(place), "--data", str(data), "--fresh")


def main() -> None:
    parser = timing.parser(__doc__, rounds=5)
    options = parser.parse_args()
    timing.begin(options)
    with tempfile.TemporaryDirectory() as scratch:
        sides: dict[str, Callable[[], object]] = {
            "python": partial(run, "-c", "pass"),
            "structgan --help": partial(run, "-m", "structgan", "--help"),
            "import torch": partial(run, "-c", "import torch"),
            **{f"imports of {verb}": partial(run, "-c", text) for verb, text in IMPORTS.items()},
            "train, one step": partial(run, *training(Path(scratch)), "--device", options.device),
        }
        found = timing.in_turn(sides, options.rounds)
    rows = [[name, f"{times.median:.2f} s", "{:.2f}-{:.2f}".format(*times.spread())] for name, times in found.items()]
    timing.table(["command", "median", "quartiles"], rows)
    figures: dict[str, Any] = {name: times.figures() for name, times in found.items()}
    timing.conclude(options, figures)


if __name__ == "__main__":
    main()
