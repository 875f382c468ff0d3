"""The files of a published archive, which are records of bytes."""

import fnmatch
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from structgan import trees
from structgan.errors import UserError


def contents(path: Path, *patterns: str) -> list[bytes]:
    """For each pattern, the contents of the files in any folder whose names match, joined in order of the names.

    Raises:
        UserError: no file matches a pattern, or one of them or the archive cannot be read.
    """
    tree, found = trees.open_tree(path), dict[str, trees.Node]()
    waiting = [""]
    for folder in waiting:
        for name, node in tree.scan(folder).items():
            if node is trees.FOLDER:
                waiting.append(f"{folder}/{name}".lstrip("/"))
            else:
                found[name] = node
    matches = [fnmatch.filter(found, pattern) for pattern in patterns]
    for pattern, names in zip(patterns, matches, strict=True):
        if not names:
            raise UserError(f"{path}: no file {pattern} in it")
        for name in names:
            if isinstance(found[name], str):
                raise UserError(f"{path}: {name}: {found[name]}")
    read = dict(tree.read({name: found[name] for names in matches for name in names}))
    return [b"".join([read.pop(name) for name in sorted(names)]) for names in matches]


def records(path: Path, name: str, content: bytes, length: int) -> NDArray[np.uint8]:
    """The content of a file as records of ``length`` bytes. Shape: (N, length).

    Raises:
        UserError: it is empty or not a whole number of records.
    """
    if not content or len(content) % length:
        raise UserError(f"{path}: {name} has {len(content)} bytes, not a whole number of {length}-byte records")
    return np.frombuffer(content, np.uint8).reshape(-1, length)
