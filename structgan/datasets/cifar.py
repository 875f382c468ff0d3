"""CIFAR-10 and CIFAR-100 from their binary version: fixed records for NumPy, where the Python version is a pickle.

Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009; record layout and MD5 from its page,
https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from structgan.datasets.fetch import fetch
from structgan.datasets.members import members, words
from structgan.datasets.options import integer, text
from structgan.datasets.pictures import scale
from structgan.datasets.store import Parts, Split
from structgan.errors import UserError

DEFAULTS: dict[str, dict[str, Any]] = {
    "cifar10": {
        "image_size": 32,
        "url": "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        "md5": "c32a1d4ab5d03f1284b67883e8d87530",
    },
    "cifar100": {
        "image_size": 32,
        "url": "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
        "md5": "03b5dce01913d631647c71ecec9e9cb8",
    },
}


@dataclass(frozen=True)
class Layout:
    """Where an archive keeps what. A record is ``label_bytes`` labels, the finest last, then 3×32×32 pixels."""

    train: str
    test: str
    names: str
    label_bytes: int


LAYOUTS = {
    "cifar10": Layout(r"data_batch_\d+\.bin", r"test_batch\.bin", "batches.meta.txt", 1),
    "cifar100": Layout(r"train\.bin", r"test\.bin", "fine_label_names.txt", 2),
}


def build(settings: Mapping[str, Any], raw: Path) -> Parts:
    """Fetch the archive if it is not in ``raw``, and read it.

    Raises:
        UserError: see ``fetch`` and ``parse``.
    """
    size = integer(settings, "image_size", 4, 1024)
    archive = fetch(text(settings, "url"), text(settings, "md5"), raw)
    parts = parse(archive, LAYOUTS[settings["builder"]])
    train, test = (Split(scale(split.images, size), split.labels) for split in (parts.train, parts.test))
    return Parts(parts.classes, train, test, note=parts.note)


def parse(archive: Path, layout: Layout) -> Parts:
    """Read the records of an archive, in the order of their files' names.

    Raises:
        UserError: the archive is damaged, a file is missing from it or is not a whole number of records, or a label
            has no class.
    """
    files: dict[str, bytes] = {}
    for name, content in members(archive):
        if content is not None and re.fullmatch(f"{layout.train}|{layout.test}|{re.escape(layout.names)}", name.name):
            files[name.name] = content
    if layout.names not in files:
        raise UserError(f"{archive}: no file {layout.names} in it")
    classes = words(archive, layout.names, files[layout.names])
    splits = []
    for pattern in (layout.train, layout.test):
        chosen = sorted(name for name in files if re.fullmatch(pattern, name))
        if not chosen:
            raise UserError(f"{archive}: no file {pattern.replace(chr(92), '')} in it")
        splits.append(_records(archive, {name: files[name] for name in chosen}, layout.label_bytes, len(classes)))
    return Parts(classes, splits[0], splits[1])


def _records(archive: Path, files: Mapping[str, bytes], label_bytes: int, classes: int) -> Split:
    length = label_bytes + 3 * 32 * 32
    for name, content in files.items():
        if not content or len(content) % length:
            raise UserError(f"{archive}: {name} has {len(content)} bytes, not a whole number of {length}-byte records")
    records = np.frombuffer(b"".join(files.values()), np.uint8).reshape(-1, length)
    labels = records[:, label_bytes - 1].astype(np.int64)
    if int(labels.max()) >= classes:
        raise UserError(f"{archive}: label {labels.max()} in {', '.join(files)}, but only {classes} class names")
    images = records[:, label_bytes:].copy().reshape(-1, 3, 32, 32)
    return Split(torch.from_numpy(images), torch.from_numpy(labels))
