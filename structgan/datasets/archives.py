"""Read files from an archive or a folder one by one, into memory. Nothing is ever extracted to disk."""

import fnmatch
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from structgan.errors import UserError

DAMAGE = (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, lzma.LZMAError, zlib.error, RuntimeError)
"""A RuntimeError is an encrypted zip file, or one packed in an unknown way."""
Entry: TypeAlias = tuple[str, Callable[[], bytes]]


def members(path: Path, wanted: Callable[[PurePosixPath], bool]) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Yield the name and content of each wanted file of a tar (plain, gz, bz2 or xz), a zip or a folder.

    Raises:
        UserError: ``path`` does not exist or is damaged; an archive contains a link, a device or an encrypted file; a
            folder contains a broken link or a device.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    entries = _folder(path) if path.is_dir() else _zip(path) if zipfile.is_zipfile(path) else _tar(path)
    try:
        for text, read in entries:
            name = PurePosixPath(text)
            if wanted(name):
                yield name, read()
    except DAMAGE as error:
        raise UserError(f"{path}: unreadable, truncated or corrupted ({error})") from error


def contents(path: Path, *patterns: str) -> list[bytes]:
    """For each pattern, the contents of the files whose names match, joined in the order of the names.

    Raises:
        UserError: no file matches a pattern, or see ``members``.
    """
    found = {name.name: content for name, content in members(path, lambda name: any(map(name.match, patterns)))}
    matches = [sorted(fnmatch.filter(found, pattern)) for pattern in patterns]
    for pattern, names in zip(patterns, matches, strict=True):
        if not names:
            raise UserError(f"{path}: no file {pattern} in it")
    return [b"".join([found.pop(name) for name in names]) for names in matches]


def records(path: Path, name: str, content: bytes, length: int) -> NDArray[np.uint8]:
    """The content of a file as records of ``length`` bytes. Shape: (N, length).

    Raises:
        UserError: it is empty or not a whole number of records.
    """
    if not content or len(content) % length:
        raise UserError(f"{path}: {name} has {len(content)} bytes, not a whole number of {length}-byte records")
    return np.frombuffer(content, np.uint8).reshape(-1, length)


def _tar(path: Path) -> Iterator[Entry]:
    with tarfile.open(path, "r|*") as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isreg() else None
            if file is not None:
                yield member.name, file.read
            elif not member.isdir():
                raise UserError(f"{path}: member '{member.name}' is a link or a device")


def _zip(path: Path) -> Iterator[Entry]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)  # 0 in archives from systems without file modes
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise UserError(f"{path}: member '{member.filename}' is a link or a device")
            if not member.is_dir():
                yield member.filename, partial(archive.read, member)


def _folder(path: Path) -> Iterator[Entry]:
    def fail(error: OSError) -> None:
        raise error

    for root, _, files in os.walk(path, onerror=fail, followlinks=True):
        for name in files:
            file = Path(root, name)
            if not file.is_file() and not name.startswith("."):
                raise UserError(f"{file}: a broken link or a device")
            yield file.relative_to(path).as_posix(), file.read_bytes
