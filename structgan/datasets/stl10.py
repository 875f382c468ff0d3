"""STL-10: 100,000 unlabelled images to learn from, 5,000 labelled ones for probes, 8,000 to test on.

Coates, Lee & Ng, "An Analysis of Single-Layer Networks in Unsupervised Feature Learning", 2011; the format is on
https://cs.stanford.edu/~acoates/stl10/. torchvision's reader extracts 3 GB to disk first, and gives unlabelled images
the label -1. Preparing takes about 9 GB of memory at 96 pixels.
"""

from pathlib import Path

import numpy as np
import torch

from structgan.datasets.archives import contents, records
from structgan.datasets.fetch import fetch
from structgan.datasets.images import scale
from structgan.datasets.store import Parts, Settings, Split

DEFAULTS = {
    "image_size": 96,
    "url": "http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",
    "md5": "91f7769df0f17e558f3565bffb0c7dfb",
}
IMAGES = ("train_X.bin", "test_X.bin", "unlabeled_X.bin")
OTHERS = ("train_y.bin", "test_y.bin", "class_names.txt")


def build(settings: Settings, raw: Path) -> Parts:
    """Read the archive, downloaded if it is not in ``raw``."""
    archive = fetch(settings["url"], settings["md5"], raw)
    *files, train_y, test_y, names = contents(archive, *IMAGES, *OTHERS)
    images = []
    for name in IMAGES:
        columns = records(archive, name, files.pop(0), 3 * 96 * 96).reshape(-1, 3, 96, 96)  # each image is transposed
        pixels = torch.from_numpy(np.ascontiguousarray(columns.transpose(0, 1, 3, 2)))
        images.append(scale(pixels, settings["image_size"]))
    train, test = (torch.from_numpy(np.frombuffer(y, np.uint8).astype(np.int64) - 1) for y in (train_y, test_y))
    classes = tuple(names.decode(errors="replace").split())
    return Parts(classes, Split(images[0], train), Split(images[1], test), images[2])
