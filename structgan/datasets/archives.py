"""Read files from an archive or a folder one by one, into memory. Nothing is ever extracted to disk."""

from __future__ import annotations

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

DAMAGE = (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, lzma.LZMAError, zlib.error, NotImplementedError)
Wanted: TypeAlias = Callable[[PurePosixPath, bool], bool]
Entry: TypeAlias = tuple[str, Callable[[], bytes] | None]


def members(path: Path, wanted: Wanted = lambda name, is_folder: True) -> Iterator[tuple[PurePosixPath, bytes | None]]:
    """Yield the name and content of each file, and the name and None of each folder.

    Args:
        path: a tar file (plain, gz, bz2 or xz), a zip file or a folder.
        wanted: called with a name and whether it is a folder; other files are not read, other folders not entered.

    Raises:
        UserError: ``path`` does not exist or is damaged; a name is absolute, contains '..' or comes twice; an archive
            contains a link, a device or an encrypted file; a folder contains a broken link or a device.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    entries = _folder(path, wanted) if path.is_dir() else _zip(path) if zipfile.is_zipfile(path) else _tar(path)
    seen: set[PurePosixPath] = set()
    try:
        for text, read in entries:
            name = PurePosixPath(text)
            foreign = path.is_file() and ("\\" in text or ":" in text.split("/")[0])  # a folder or drive on Windows
            if foreign or name.is_absolute() or ".." in name.parts:
                raise UserError(f"{path}: member '{text}' points outside the archive; nothing was read from it")
            if read is not None and name in seen:
                raise UserError(f"{path}: member '{text}' comes twice")
            seen.add(name)
            if wanted(name, read is None):
                yield name, None if read is None else read()
    except DAMAGE as error:
        raise UserError(f"{path}: unreadable, truncated or corrupted ({error})") from error


def contents(path: Path, *patterns: str) -> list[bytes]:
    """For each pattern, the contents of the files whose names match, joined in the order of the names.

    Raises:
        UserError: no file matches a pattern, or see ``members``.
    """
    chosen = members(path, lambda name, is_folder: not is_folder and any(map(name.match, patterns)))
    found = {name.name: content for name, content in chosen if content is not None}
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
            if file is None and not member.isdir():
                raise UserError(f"{path}: member '{member.name}' is a link or a device")
            yield member.name, None if file is None else file.read


def _zip(path: Path) -> Iterator[Entry]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.flag_bits & 1:
                raise UserError(f"{path}: member '{member.filename}' is encrypted")
            kind = stat.S_IFMT(member.external_attr >> 16)  # 0 in archives from systems without file modes
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise UserError(f"{path}: member '{member.filename}' is a link or a device")
            yield member.filename, None if member.is_dir() else partial(archive.read, member)


def _folder(path: Path, wanted: Wanted) -> Iterator[Entry]:
    def fail(error: OSError) -> None:
        raise error

    for root, folders, files in os.walk(path, onerror=fail, followlinks=True):
        place = PurePosixPath(Path(root).relative_to(path).as_posix())
        folders[:] = sorted(name for name in folders if wanted(place / name, True))
        yield from ((str(place / name), None) for name in folders)
        for name in sorted(files):
            file = Path(root, name)
            if not file.is_file() and wanted(place / name, True):
                raise UserError(f"{file}: a broken link or a device")
            yield str(place / name), file.read_bytes
