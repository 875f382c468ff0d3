"""Read ``<split>/<class>/<image>`` from a folder or an archive.

torchvision's ImageFolder reads no archives, and its errors do not name the damaged file.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from numpy.typing import NDArray

from structgan.datasets.archives import members
from structgan.datasets.images import MODES, decode
from structgan.datasets.store import Parts, Split
from structgan.errors import UserError
from structgan.progress import Progress

JUNK = ("thumbs.db", "desktop.ini", "__macosx", "@eadir")
"""Files and folders that systems leave behind. They are skipped, as are hidden ones."""


def read(
    path: Path, size: int, resize: bool, only: Collection[str] | None = None, modes: Collection[str] = MODES
) -> Parts:
    """Read the splits train and test. Without a folder test/, val/ is the test split.

    Classes and images are sorted by name. Everything outside of class folders is skipped; every file inside must be an
    image. In an archive, the splits may be inside one common folder.

    Args:
        path: a folder, a tar file or a zip file.
        size: height and width of the result in pixels.
        resize, modes: see ``decode``.
        only: read just these classes. Each must exist.

    Raises:
        UserError: a missing split or class; a class without images; see also ``members`` and ``decode``.
    """
    splits = ("train", "test") if (path / "test").is_dir() else ("train", "test", "val")
    outer = 1 if path.is_dir() else 2

    def locate(name: PurePosixPath) -> tuple[str, ...]:
        """Split, class and file, as far as the name goes; nothing if it is skipped."""
        start = next((i for i, part in enumerate(name.parts[:outer]) if part in splits), None)
        if start is None or any(part.startswith(".") or part.lower() in JUNK for part in name.parts):
            return ()
        parts = name.parts[start:]
        return () if only and len(parts) > 1 and parts[1] not in only else parts

    def is_wanted(name: PurePosixPath, is_folder: bool) -> bool:
        return len(locate(name)) > (0 if is_folder else 2)

    found: dict[str, dict[str, dict[str, NDArray[np.uint8]]]] = {split: {} for split in splits}
    with Progress(f"read {path.name}", None, "image") as progress:
        for member, content in members(path, is_wanted):
            split, *inner = locate(member)
            if len(inner) > 2 or (len(inner) == 2 and content is None):
                raise UserError(f"{path}: {member}: a folder inside a class folder (wanted: <split>/<class>/<image>)")
            if inner and any("\ud800" <= character <= "\udfff" for character in inner[0]):
                raise UserError(f"{path}: class {inner[0]!a}: its name is not UTF-8")
            images = found[split].setdefault(inner[0], {}) if inner else {}
            if content is not None:
                images[inner[1]] = decode(content, f"{path}: {split}/{'/'.join(inner)}", size, resize, modes)
                progress.advance()
    test = "test" if found["test"] else "val"
    for split, wanted in (("train", "train/<class>/"), (test, "test/<class>/ (or val/<class>/)")):
        if not found.get(split):
            raise UserError(f"{path}: no folder {wanted} with images")
    classes = tuple(sorted({*(only or ()), *found["train"], *found[test]}))
    train, held_out = (_stack(path, split, found.pop(split), classes) for split in ("train", test))
    return Parts(classes, train, held_out)


def _stack(path: Path, split: str, found: dict[str, dict[str, NDArray[np.uint8]]], classes: tuple[str, ...]) -> Split:
    for name in classes:
        if name not in found:
            raise UserError(f"{path}: class '{name}' is missing from {split}/")
        if not found[name]:
            raise UserError(f"{path}: class '{name}' has no image in {split}/")
    images = [found[name][file] for name in classes for file in sorted(found[name])]
    labels = [label for label, name in enumerate(classes) for _ in found[name]]
    return Split(torch.from_numpy(np.stack(images)), torch.tensor(labels))
