"""The paper's settings as the benchmarks use them, from a file that a machine without the suite's environment can read.

``python -m benchmarks.settings`` writes ``settings.json`` from ``workflow/config/config.yaml``, which needs the checker
of configurations; a test says so where the file is out of date. Everything else reads the file and nothing more.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from structgan.files import read_json, write_text

FILE = Path(__file__).with_suffix(".json")
PARTS = ("training", "methods", "augmentations", "evaluation")
OTHER = ("sweep", "variants")
"""Keys of a method's block that belong to grids."""
SMALL = {"width": 8, "channels_per_group": 4, "blocks": [1, 1], "bank": 48, "hidden": 32, "embedding": 16}
SMALL |= {"clusters": 4, "pool": 100, "recluster_every": 2, "starts": 1}
SMALL |= {"queue_size": 48, "queue_from_step": 3, "prototypes": 12, "frozen_steps": 2}
SMALL |= {"timesteps": 20, "sampling_steps": 4}
NARROW = {"channels", "latent", "condition", "head_hidden", "head_output", "predictor_hidden"}


def resolve() -> dict[str, Any]:
    """What the file has to say, from the checked configuration."""
    from structgan import config

    found = config.load([])
    blocks = {name: {k: v for k, v in block.items() if k not in OTHER} for name, block in found["methods"].items()}
    return {part: found[part] for part in PARTS} | {"methods": blocks}


def read() -> dict[str, Any]:
    """``training``, ``methods``, ``augmentations`` and ``evaluation`` of the paper's configuration."""
    found = read_json(FILE)
    assert isinstance(found, dict)
    return found


def shrink(value: Any, key: str = "") -> Any:
    """The same settings with every known size at a test's size, whichever method they belong to."""
    if isinstance(value, dict):
        return {name: shrink(item, name) for name, item in value.items()}
    if key in SMALL:
        return 1 if key == "blocks" and isinstance(value, int) else copy.deepcopy(SMALL[key])
    return min(value, 16) if key in NARROW else value


if __name__ == "__main__":
    lines = [f"{json.dumps(part)}: {json.dumps(value)}" for part, value in resolve().items()]
    write_text(FILE, "{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{FILE.name} written")
