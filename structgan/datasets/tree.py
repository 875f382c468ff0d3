"""Trees of class folders, ``<split>/<class>/<picture>``, in a folder or in an archive."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from structgan.datasets.members import members
from structgan.datasets.pictures import MODES, decode
from structgan.datasets.store import Parts, Split
from structgan.errors import UserError
from structgan.progress import Progress

SPLITS = ("train", "test", "val")
Pictures = dict[str, list[tuple[str, NDArray[np.uint8]]]]


def read(
    path: Path, size: int, resize: bool, only: Collection[str] | None = None, modes: Collection[str] = MODES
) -> Parts:
    """Read a tree with a train/ folder and a test/ folder (else val/, which then serves as the test split).

    Classes are the sorted folder names and pictures come in the order of their names, whatever the order on the disk.
    Hidden files and everything beside the splits are passed over; every other file in a class folder must be a picture.

    Args:
        path: a folder, or a tar or zip file that has the splits at its root or inside one folder.
        size: height and width of the result in pixels.
        resize: see ``decode``.
        only: read these classes and no other; each must be there.
        modes: see ``decode``.

    Raises:
        UserError: no such path; no train or test folder; a class without picture; classes of train and test that
            differ; a picture that ``decode`` refuses; a damaged archive.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    found: dict[str, Pictures] = {}
    with Progress(f"read {path.name}", None, "image") as progress:
        for split, name, file, content in _folder(path, only) if path.is_dir() else _archive(path):
            if only is not None and name not in only:
                continue
            pictures = found.setdefault(split, {}).setdefault(name, [])
            if content is not None:
                pictures.append((file, decode(content, f"{path}: {split}/{name}/{file}", size, resize, modes)))
                progress.advance()
    test = "test" if "test" in found else "val"
    for split in ("train", test):
        if not found.get(split):
            wanted = "train/<class>/" if split == "train" else "test/<class>/ (or val/<class>/)"
            raise UserError(f"{path}: no folder {wanted} with pictures")
    _same_classes(path, found, test, only)
    classes = tuple(sorted(found["train"]))
    return Parts(classes, _stack(found.pop("train"), classes), _stack(found.pop(test), classes))


def _folder(path: Path, only: Collection[str] | None) -> Iterator[tuple[str, str, str, bytes | None]]:
    """Yield (split, class, file, content), and (split, class, "", None) for each class folder."""
    splits = [name for name in SPLITS if (path / name).is_dir()]
    for split in [name for name in splits if name != "val" or "test" not in splits]:
        for folder in sorted((path / split).iterdir()):
            if not folder.is_dir() or _hidden(folder.name) or (only is not None and folder.name not in only):
                continue
            yield split, folder.name, "", None
            for file in sorted(folder.iterdir()):
                if file.is_dir():
                    raise UserError(f"{file}: a folder inside a class folder (wanted: <split>/<class>/<picture>)")
                if not _hidden(file.name):
                    try:
                        yield split, folder.name, file.name, file.read_bytes()
                    except OSError as error:
                        raise UserError(f"{file}: cannot be read: {error.strerror or error}") from error


def _archive(path: Path) -> Iterator[tuple[str, str, str, bytes | None]]:
    """The same from an archive; the splits may lie inside one common folder."""
    for name, content in members(path):
        parts = name.parts
        at = next((i for i, part in enumerate(parts[:2]) if part in SPLITS), None)
        if at is None or len(parts) < at + 2 or any(map(_hidden, parts)):
            continue
        depth = len(parts) - at
        if content is None and depth == 2:
            yield parts[at], parts[at + 1], "", None
        elif content is not None and depth == 3:
            yield parts[at], parts[at + 1], parts[at + 2], content
        elif depth >= 3:
            raise UserError(f"{path}: {name}: too deep (wanted: <split>/<class>/<picture>)")


def _hidden(name: str) -> bool:
    return name.startswith(".") or name in ("Thumbs.db", "__MACOSX", "desktop.ini")


def _same_classes(path: Path, found: dict[str, Pictures], test: str, only: Collection[str] | None) -> None:
    """Both splits have the same classes, and each class a picture in both."""
    for name in sorted(set(only or ()) | set(found["train"]) | set(found[test])):
        here = [split for split in ("train", test) if name in found[split]]
        for split in ("train", test):
            if split not in here:
                also = f" (it is in {here[0]}/)" if here else ""
                raise UserError(f"{path}: class '{name}' is missing from {split}/{also}")
            if not found[split][name]:
                raise UserError(f"{path}: class '{name}' has no image in {split}/")


def _stack(pictures: Pictures, classes: tuple[str, ...]) -> Split:
    arrays = [array for name in classes for _, array in sorted(pictures[name], key=lambda picture: picture[0])]
    labels = [index for index, name in enumerate(classes) for _ in pictures[name]]
    return Split(torch.from_numpy(np.stack(arrays)), torch.tensor(labels, dtype=torch.int64))
