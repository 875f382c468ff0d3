"""The members of an archive, one by one and in memory: nothing is ever extracted to a disk."""

from __future__ import annotations

import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from structgan.errors import UserError

DAMAGE = (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, lzma.LZMAError, zlib.error, NotImplementedError)


def members(path: Path) -> Iterator[tuple[PurePosixPath, bytes | None]]:
    """Yield (name, content) of each member in the archive's order; the content of a folder is None.

    Args:
        path: a tar (plain, gz, bz2 or xz) or zip file.

    Raises:
        UserError: no such file; it is no archive, truncated or corrupted; a member is absolute, climbs with '..', is a
            link or device, is encrypted, or comes twice.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    seen: set[PurePosixPath] = set()
    try:
        for name, content in _zip(path) if zipfile.is_zipfile(path) else _tar(path):
            pure = PurePosixPath(name)
            if pure.is_absolute() or ".." in pure.parts or "\\" in name or ":" in name.split("/")[0]:
                raise UserError(f"{path}: member '{name}' points outside the archive; nothing was read from it")
            if content is not None and pure in seen:
                raise UserError(f"{path}: member '{name}' comes twice")
            seen.add(pure)
            yield pure, content
    except DAMAGE as error:
        raise UserError(f"{path}: no archive, truncated or corrupted ({error})") from error


def words(path: Path, name: str, content: bytes) -> tuple[str, ...]:
    """The words of a member that is text: the names of classes.

    Raises:
        UserError: it is no text.
    """
    try:
        return tuple(content.decode("utf-8").split())
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: {name} is not text ({error})") from error


def _tar(path: Path) -> Iterator[tuple[str, bytes | None]]:
    with tarfile.open(path, "r|*") as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isreg() else None
            if file is None and not member.isdir():
                raise UserError(
                    f"{path}: member '{member.name}' is a link or a device; only files and folders are read"
                )
            yield member.name, None if file is None else file.read()


def _zip(path: Path) -> Iterator[tuple[str, bytes | None]]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.flag_bits & 1:
                raise UserError(f"{path}: member '{member.filename}' is encrypted")
            kind = stat.S_IFMT(member.external_attr >> 16)  # 0 where the archive comes from a system without modes
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise UserError(f"{path}: member '{member.filename}' is a link or a device; only files are read")
            yield member.filename, None if member.is_dir() else archive.read(member)
