"""Your own images as class folders, in a folder or an archive.

``split`` and ``seed`` are for class folders without train/ and test/. ``content`` is the digest of the pictures, which
planning fills in; a block that gives it is planned as it says, wherever the pictures are.
"""

from pathlib import Path

from structgan import pictures
from structgan.datasets import class_folders
from structgan.datasets.store import Parts, Settings

DEFAULTS = {"image_size": 0, "path": "", "resize": False, "split": 0.0, "seed": 0, "content": "any"}
LIMITS = {"split": (0.0, 0.9), "seed": (0, 4294967295)}
PICTURES = "{path}"


def build(settings: Settings, raw: Path) -> Parts:
    """Read ``path``, which is relative to the working directory."""
    path, split = Path(settings["path"]), settings["split"]
    pictures.check(path, settings["content"], split > 0)
    size, resize = settings["image_size"], settings["resize"]
    return class_folders.read(path, size, resize, split=split, seed=settings["seed"])
