"""Your own images as class folders, in a folder or an archive."""

from pathlib import Path

from structgan.datasets import class_folders
from structgan.datasets.store import Parts, Settings

DEFAULTS = {"image_size": 0, "path": "", "resize": False}


def build(settings: Settings, raw: Path) -> Parts:
    """Read ``path``, which is relative to the working directory."""
    return class_folders.read(Path(settings["path"]), settings["image_size"], settings["resize"])
