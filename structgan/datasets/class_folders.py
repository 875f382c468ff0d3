"""Read ``<split>/<class>/<image>`` from a folder or an archive.

torchvision's ImageFolder reads no archives, and its errors do not name the damaged file.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from numpy.typing import NDArray

from structgan.datasets.archives import members
from structgan.datasets.images import IMAGENET_MODES, MODES, decode
from structgan.datasets.store import Parts, Split
from structgan.errors import UserError
from structgan.progress import Progress

JUNK = ("thumbs.db", "desktop.ini", "__macosx", "@eadir")
"""Files and folders that systems leave behind. They are skipped, as are hidden ones."""


def read(path: Path, size: int, resize: bool, only: Collection[str] = (), modes: Collection[str] = MODES) -> Parts:
    """Read the splits train and test. Without a folder test/, val/ is the test split.

    Classes and images are sorted by name. Everything outside of class folders is skipped; every file inside must be an
    image. In an archive, the splits may be inside one common folder.

    Args:
        path: a folder, a tar file or a zip file.
        size: height and width of the result in pixels.
        resize, modes: see ``decode``.
        only: the classes to read, if not all; each must exist.

    Raises:
        UserError: a missing split or class; see also ``members`` and ``decode``.
    """
    splits = ("train", "test") if (path / "test").is_dir() else ("train", "test", "val")

    def locate(name: PurePosixPath) -> tuple[str, ...]:
        """Split, class and file; nothing if it is skipped."""
        start = 0 if path.is_dir() or name.parts[0] in splits else 1
        split, *inner = name.parts[start:] or ("",)
        junk = any(part.startswith(".") or part.lower() in JUNK for part in name.parts)
        skipped = junk or split not in splits or len(inner) < 2 or (only and inner[0] not in only)
        return () if skipped else (split, *inner)

    found: dict[str, dict[str, dict[str, NDArray[np.uint8]]]] = {split: defaultdict(dict) for split in splits}
    with Progress(f"read {path.name}", None, "image") as progress:
        for member, content in members(path, lambda name: bool(locate(name))):
            split, label, file, *deeper = locate(member)
            if deeper:
                raise UserError(f"{path}: {member}: a folder inside a class folder (wanted: <split>/<class>/<image>)")
            if any("\ud800" <= character <= "\udfff" for character in label):
                raise UserError(f"{path}: class {label!a}: its name is not UTF-8")
            found[split][label][file] = decode(content, f"{path}: {split}/{label}/{file}", size, resize, modes)
            progress.advance()
    test = "test" if found["test"] else "val"
    for split, wanted in (("train", "train/<class>/"), (test, "test/<class>/ (or val/<class>/)")):
        if not found.get(split):
            raise UserError(f"{path}: no folder {wanted} with images")
    folders = [*path.glob("train/*/"), *path.glob(f"{test}/*/")] if path.is_dir() else []  # an empty one is a class too
    named = {folder.name for folder in folders if locate(PurePosixPath(folder.parent.name, folder.name, "image"))}
    classes = tuple(sorted({*only, *named, *found["train"], *found[test]}))
    train, held_out = (_stack(path, split, found.pop(split), classes) for split in ("train", test))
    return Parts(classes, train, held_out)


def read_imagenet(path: Path, size: int, names: Mapping[str, str], note: str = "") -> Parts:
    """Read classes of ImageNet, given as names by WordNet id."""
    parts = read(path, size, resize=True, only=names, modes=IMAGENET_MODES)
    return Parts(tuple(names[wnid] for wnid in parts.classes), parts.train, parts.test, note=note)


def _stack(path: Path, split: str, found: dict[str, dict[str, NDArray[np.uint8]]], classes: tuple[str, ...]) -> Split:
    for name in classes:
        if name not in found:
            raise UserError(f"{path}: class '{name}' is missing from {split}/, or has no image there")
    images = [found[name][file] for name in classes for file in sorted(found[name])]
    labels = [label for label, name in enumerate(classes) for _ in found[name]]
    return Split(torch.from_numpy(np.stack(images)), torch.tensor(labels))
