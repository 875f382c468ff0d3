"""CIFAR-100 with its 100 fine classes, see ``cifar10``."""

from pathlib import Path

from structgan.datasets import cifar10
from structgan.datasets.store import Parts, Settings

DEFAULTS = {
    "image_size": 32,
    "url": "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
    "md5": "03b5dce01913d631647c71ecec9e9cb8",
}


def build(settings: Settings, raw: Path) -> Parts:
    """Read the archive, downloaded if it is not in ``raw``."""
    return cifar10.read(settings, raw, ("train.bin", "test.bin"), "fine_label_names.txt", 2)
