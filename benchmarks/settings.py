"""The paper's settings, from a file that a machine without the suite's environment can read.

``python -m benchmarks.settings`` writes ``settings.json`` from ``workflow/config/config.yaml``; a test fails where the
file is out of date.
"""

import json
from pathlib import Path
from typing import Any

from structgan.files import read_json, write_text

FILE = Path(__file__).with_suffix(".json")
PARTS = ("training", "methods", "augmentations", "evaluation")
SMALL = {
    "width": 8, "channels_per_group": 4, "blocks": [1, 1], "bank": 48, "hidden": 32, "embedding": 16,
    "clusters": 4, "pool": 100, "recluster_every": 2, "starts": 1,
    "queue_size": 48, "queue_from_step": 3, "prototypes": 12, "frozen_steps": 2,
    "timesteps": 20, "sampling_steps": 4,
}  # fmt: skip
NARROW = {"channels", "latent", "condition", "head_hidden", "head_output", "predictor_hidden"}


def resolve() -> dict[str, Any]:
    """The file's content, from the checked configuration."""
    from structgan import config

    found = config.load([])
    methods = {
        name: {key: value for key, value in block.items() if key not in ("sweep", "variants")}
        for name, block in found["methods"].items()
    }
    return {part: found[part] for part in PARTS} | {"methods": methods}


def read() -> dict[str, Any]:
    """``training``, ``methods``, ``augmentations`` and ``evaluation`` of the paper's configuration."""
    return dict(read_json(FILE))


def shrink(value: Any, key: str = "") -> Any:
    """The same settings with every known size at a test's size, for any method."""
    if isinstance(value, dict):
        return {name: shrink(item, name) for name, item in value.items()}
    if key == "blocks" and isinstance(value, int):
        return 1
    if key in SMALL:
        return SMALL[key]
    return min(value, 16) if key in NARROW else value


if __name__ == "__main__":
    lines = [f"{json.dumps(part)}: {json.dumps(value)}" for part, value in resolve().items()]
    write_text(FILE, "{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{FILE.name} written")
