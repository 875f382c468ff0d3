"""STL-10: 100,000 unlabelled images to learn from, 5,000 labelled ones for probes, 8,000 to test on.

Source: Coates, Lee & Ng, "An Analysis of Single-Layer Networks in Unsupervised Feature Learning", 2011; record layout
from https://cs.stanford.edu/~acoates/stl10/. The unlabelled part has no labels at all here (elsewhere it has -1, which
has found its way into nearest-neighbour probes). At 96 pixels preparing it takes about 9 GB of memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from structgan.datasets.fetch import fetch
from structgan.datasets.members import members, words
from structgan.datasets.options import integer, text
from structgan.datasets.pictures import scale
from structgan.datasets.store import Parts, Split
from structgan.errors import UserError

DEFAULTS: dict[str, dict[str, Any]] = {
    "stl10": {
        "image_size": 96,
        "url": "http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",
        "md5": "91f7769df0f17e558f3565bffb0c7dfb",
    }
}
SIDE = 96


def build(settings: Mapping[str, Any], raw: Path) -> Parts:
    """Fetch the archive if it is not in ``raw``, and read it.

    Raises:
        UserError: see ``fetch`` and ``parse``.
    """
    size = integer(settings, "image_size", 4, 1024)
    return parse(fetch(text(settings, "url"), text(settings, "md5"), raw), size)


def parse(archive: Path, size: int = SIDE) -> Parts:
    """Read the five binary files and the class names, resizing to ``size`` pixels.

    Raises:
        UserError: the archive is damaged, a file is missing from it, or sizes and labels do not fit together.
    """
    images: dict[str, Tensor] = {}
    labels: dict[str, Tensor] = {}
    classes: tuple[str, ...] = ()
    missing = {"train_X.bin", "test_X.bin", "unlabeled_X.bin", "train_y.bin", "test_y.bin", "class_names.txt"}
    for path, content in members(archive):
        if content is None or path.name not in missing:
            continue
        missing.remove(path.name)
        key = path.name.split("_")[0]
        if path.name == "class_names.txt":
            classes = words(archive, path.name, content)
        elif path.name.endswith("_X.bin"):
            images[key] = scale(_images(archive, path.name, content), size)
        else:
            labels[key] = torch.from_numpy(np.frombuffer(content, np.uint8).astype(np.int64) - 1)
    if missing:
        raise UserError(f"{archive}: no file {min(missing)} in it")
    for key, values in labels.items():
        if len(values) != len(images[key]) or int(values.min()) < 0 or int(values.max()) >= len(classes):
            raise UserError(
                f"{archive}: {key}_y.bin does not label {len(images[key])} images of {len(classes)} classes"
            )
    train, test = (Split(images[key], labels[key]) for key in ("train", "test"))
    return Parts(classes, train, test, images["unlabeled"])


def _images(archive: Path, name: str, content: bytes) -> Tensor:
    """(N, 3, 96, 96) uint8 of a file that keeps each channel column by column."""
    length = 3 * SIDE * SIDE
    if not content or len(content) % length:
        raise UserError(f"{archive}: {name} has {len(content)} bytes, not a whole number of {length}-byte images")
    columns = np.frombuffer(content, np.uint8).reshape(-1, 3, SIDE, SIDE)
    return torch.from_numpy(np.ascontiguousarray(columns.transpose(0, 1, 3, 2)))
