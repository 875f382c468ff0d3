"""ImageNet-10 of the clustering literature: ten classes cut out of an ImageNet (ILSVRC 2012) tree.

Several sets are called "ImageNet-10"; this is the list of ten that the clustering papers use, given by its WordNet ids.
Imagenette, another ten, is a builder of its own. ImageNet asks for registration, so nothing is downloaded here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from structgan.datasets import tree
from structgan.datasets.options import integer
from structgan.datasets.pictures import PRINTED
from structgan.datasets.store import Parts
from structgan.errors import UserError

DEFAULTS: dict[str, dict[str, Any]] = {"imagenet10": {"image_size": 64, "folder": "imagenet"}}
CLASSES = {
    "n02056570": "king penguin",
    "n02085936": "Maltese dog",
    "n02128757": "snow leopard",
    "n02690373": "airliner",
    "n02692877": "airship",
    "n03095699": "container ship",
    "n04254680": "soccer ball",
    "n04285008": "sports car",
    "n04467665": "trailer truck",
    "n07747607": "orange",
}
NOTE = "ImageNet-10 (clustering list)"


def build(settings: Mapping[str, Any], raw: Path) -> Parts:
    """Read the ten classes from ``raw/<folder>/{train,val}/<wnid>/``; the official val pictures are the test split.

    Each picture becomes its central square, resized to ``image_size`` with antialias.

    Raises:
        UserError: the tree or one of the ten folders is missing; see ``tree.read``.
    """
    size = integer(settings, "image_size", 4, 1024)
    root = raw / str(settings["folder"])
    if not (root / "train").is_dir():
        what = "ImageNet (ILSVRC 2012) from https://image-net.org as class folders train/<wnid>/ and val/<wnid>/"
        raise UserError(f"{root}: no train/ folder in it: put {what} there (ten classes suffice: {', '.join(CLASSES)})")
    parts = tree.read(root, size, resize=True, only=tuple(CLASSES), modes=PRINTED)
    return replace(parts, classes=tuple(CLASSES[wnid] for wnid in parts.classes), note=NOTE)
