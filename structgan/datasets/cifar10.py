"""CIFAR-10 (Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009).

The binary version is read, whose format is on https://www.cs.toronto.edu/~kriz/cifar.html. torchvision's reader takes
the Python version, which must be unpickled.
"""

from pathlib import Path

import numpy as np
import torch

from structgan.datasets.archives import contents, records
from structgan.datasets.fetch import fetch
from structgan.datasets.images import scale
from structgan.datasets.store import Parts, Settings, Split

DEFAULTS = {
    "image_size": 32,
    "url": "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    "md5": "c32a1d4ab5d03f1284b67883e8d87530",
}


def build(settings: Settings, raw: Path) -> Parts:
    """Read the archive, downloaded if it is not in ``raw``."""
    return read(settings, raw, ("data_batch_*.bin", "test_batch.bin"), "batches.meta.txt", 1)


def read(settings: Settings, raw: Path, files: tuple[str, str], names: str, label_bytes: int) -> Parts:
    """Read records of ``label_bytes`` labels, of which the last one counts, and 3×32×32 pixels.

    Args:
        settings: ``image_size``, ``url`` and ``md5``.
        raw: the folder of downloaded files.
        files: patterns for the names of the training files and the test file in the archive.
        names: the file of class names.
        label_bytes: how many labels an image has.

    Raises:
        UserError: see ``fetch``, ``contents`` and ``records``.
    """
    archive = fetch(settings["url"], settings["md5"], raw)
    *pixels, classes = contents(archive, *files, names)
    splits = []
    for file, content in zip(files, pixels, strict=True):
        rows = records(archive, file, content, label_bytes + 3 * 32 * 32)
        images = torch.from_numpy(rows[:, label_bytes:].copy().reshape(-1, 3, 32, 32))
        labels = torch.from_numpy(rows[:, label_bytes - 1].astype(np.int64))
        splits.append(Split(scale(images, settings["image_size"]), labels))
    return Parts(tuple(classes.decode(errors="replace").split()), splits[0], splits[1])
