"""Jobs on the fixture ``place``: protocols of small dense and transfer evaluations, and runs with fresh weights."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from structgan import config, files
from structgan.identity import protocol

EVALUATION = config.load([])["evaluation"]
DENSE = {
    "maps": "all",
    "segmentation": {"places": 400, "C": 1.0, "max_iter": 100, "tol": 1e-2},
    "detection": {
        "places": 400, "C": 1.0, "max_iter": 100, "tol": 1e-2, "stride": 4, "middle": 0.5, "ridge": 10.0, "score": 0.05,
        "nms": 0.5, "detections": 100,
    },
    "images": {
        "scenes": {
            "image_size": 32, "digit_size": 12, "objects": [1, 2], "ink": 0.5, "train_size": 20, "test_size": 10,
            "train_scans": [500, 1797], "test_scans": [0, 500], "seed": 0,
        },
    },
}  # fmt: skip
SMALL = {"knn": {"k": 5}}


def planned(path: Path, kind: str, **block: Any) -> Path:
    """Writes a protocol of ``kind`` whose own block is ``block``."""
    evaluation = {**config.merge(EVALUATION, SMALL), kind: block}
    files.write_json(path, protocol.make(evaluation, kind))
    return path


def copied(place: Path, to: Path, name: str = "random") -> Path:
    """A run of the fixture, copied."""
    shutil.copytree(place / name, to)
    return to
