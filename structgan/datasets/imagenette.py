"""Imagenette: ten easy classes of ImageNet, as fast.ai publishes them (https://github.com/fastai/imagenette)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from structgan.datasets import tree
from structgan.datasets.fetch import fetch
from structgan.datasets.options import integer, text
from structgan.datasets.pictures import PRINTED
from structgan.datasets.store import Parts
from structgan.errors import UserError

DEFAULTS: dict[str, dict[str, Any]] = {
    "imagenette": {
        "image_size": 64,
        "url": "https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-160.tgz",
        "md5": "e793b78cc4c9e9a4ccc0c1155377a412",
    }
}
CLASSES = {
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}


def build(settings: Mapping[str, Any], raw: Path) -> Parts:
    """Read the unpacked tree ``raw/imagenette2-160/`` (the stem of ``url``) where present, else the archive, fetched.

    Each picture becomes its central square, resized to ``image_size`` with antialias; val/ is the test split.

    Raises:
        UserError: see ``fetch`` and ``tree.read``; the classes are not Imagenette's.
    """
    size = integer(settings, "image_size", 4, 1024)
    url = text(settings, "url")
    unpacked = raw / Path(url).stem
    source = unpacked if unpacked.is_dir() else fetch(url, text(settings, "md5"), raw)
    parts = tree.read(source, size, resize=True, modes=PRINTED)
    if parts.classes != tuple(CLASSES):
        other = min(set(parts.classes) ^ set(CLASSES))
        raise UserError(f"{source}: not Imagenette: its classes are not the ten WordNet ids of the list ({other})")
    return replace(parts, classes=tuple(CLASSES[wnid] for wnid in parts.classes))
