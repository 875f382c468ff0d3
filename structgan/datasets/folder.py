"""Any tree of class folders, in a folder or an archive, as a data set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from structgan.datasets import tree
from structgan.datasets.options import boolean, integer, text
from structgan.datasets.store import Parts

DEFAULTS: dict[str, dict[str, Any]] = {"folder": {"path": None, "image_size": None, "resize": False}}


def build(settings: Mapping[str, Any], raw: Path) -> Parts:
    """Read ``settings["path"]``, relative to the working folder (``raw`` is not used: the files are the user's own).

    Raises:
        UserError: see ``tree.read``; ``path`` or ``image_size`` is missing.
    """
    size = integer(settings, "image_size", 4, 1024)
    return tree.read(Path(text(settings, "path")), size, boolean(settings, "resize"))
