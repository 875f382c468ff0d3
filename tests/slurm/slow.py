"""A method that takes its time, so that a test can interrupt its training; and what an untouched training gives."""

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from trees import Tree

TRAIN = """
import sys
from pathlib import Path

from structgan import train

for run in sys.argv[1:]:
    (data,) = Path("data/prepared").glob("digits_gradient-*.safetensors")
    train.run(Path(run), data)
"""
SLOW = '''
"""SimCLR that takes its time, as much as the environment says; the numbers are the same."""

import os
import time

from baselines.simclr import SimCLR


class Slow(SimCLR):
    """Waits in each step."""

    def step(self, views, labels):
        time.sleep(float(os.environ.get("SLOW", "0")))
        return super().step(views, labels)
'''


def add_slow(tree: Tree, config: str) -> Tree:
    """Put the method into a copy of the repository, and prepare the data set there."""
    (tree.root / "baselines/slow.py").write_text(SLOW)
    tree.run("--profile", "workflow/profiles/local", "--", "data", config=config)
    return tree


def train_untouched(tree: Tree, runs: Mapping[str, Path]) -> Path:
    """Train the same runs without an interruption, each in a folder of its name; where these folders lie."""
    folder = tree.root / "untouched"
    for name, run in runs.items():
        (folder / name).mkdir(parents=True)
        shutil.copy2(run / "config.json", folder / name)
    tree.call(sys.executable, "-c", TRAIN, *(str(folder / name) for name in runs))
    return folder


def same_end(run: Path, untouched: Path) -> None:
    """The weights of both are equal bit by bit, and so are their losses."""
    assert (run / "encoder.safetensors").read_bytes() == (untouched / "encoder.safetensors").read_bytes()
    records = [json.loads((folder / "history.json").read_text())["records"] for folder in (run, untouched)]
    losses = [[(record["step"], record["losses"]) for record in history] for history in records]
    assert losses[0] == losses[1]
