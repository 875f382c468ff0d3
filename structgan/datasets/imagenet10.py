"""ImageNet-10: the ten classes of ImageNet (ILSVRC 2012) that the clustering literature uses.

Other data sets share this name; the WordNet ids below say which one it is. ImageNet requires registration, so nothing
is downloaded.
"""

from pathlib import Path

from structgan import pictures
from structgan.datasets import class_folders
from structgan.datasets.store import Parts, Settings
from structgan.errors import UserError

DEFAULTS = {"image_size": 64, "folder": "imagenet", "content": "any"}
PICTURES = "data/raw/{folder}"
CLASSES = {
    "n02056570": "king penguin", "n02085936": "Maltese dog", "n02128757": "snow leopard", "n02690373": "airliner",
    "n02692877": "airship", "n03095699": "container ship", "n04254680": "soccer ball", "n04285008": "sports car",
    "n04467665": "trailer truck", "n07747607": "orange",
}  # fmt: skip


def build(settings: Settings, raw: Path) -> Parts:
    """Read ``raw/<folder>/{train,val}/<wnid>/``. The official validation images are the test split."""
    root = raw / settings["folder"]
    if not (root / "train").is_dir():
        what = "ImageNet (ILSVRC 2012) from https://image-net.org as class folders train/<wnid>/ and val/<wnid>/"
        raise UserError(f"{root}: no folder train/: put {what} there (ten classes suffice: {', '.join(CLASSES)})")
    pictures.check(root, settings["content"], only=CLASSES)
    return class_folders.read_imagenet(root, settings["image_size"], CLASSES, "ImageNet-10 (clustering list)")
