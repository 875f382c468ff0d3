"""Imagenette: ten easy classes of ImageNet, published by fast.ai (https://github.com/fastai/imagenette)."""

from pathlib import Path

from structgan.datasets import class_folders
from structgan.datasets.fetch import fetch
from structgan.datasets.store import Parts, Settings

DEFAULTS = {
    "image_size": 64,
    "url": "https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-160.tgz",
    "md5": "e793b78cc4c9e9a4ccc0c1155377a412",
}
CLASSES = {
    "n01440764": "tench", "n02102040": "English springer", "n02979186": "cassette player", "n03000684": "chain saw",
    "n03028079": "church", "n03394916": "French horn", "n03417042": "garbage truck", "n03425413": "gas pump",
    "n03445777": "golf ball", "n03888257": "parachute",
}  # fmt: skip


def build(settings: Settings, raw: Path) -> Parts:
    """Read the folder ``raw/imagenette2-160/`` if it exists, else the archive; val/ is the test split."""
    unpacked = raw / Path(settings["url"]).stem
    source = unpacked if unpacked.is_dir() else fetch(settings["url"], settings["md5"], raw)
    return class_folders.read_imagenet(source, settings["image_size"], CLASSES)
