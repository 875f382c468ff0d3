"""The files of a folder, a tar or a zip, listed and read alike. Nothing is extracted. Imports neither NumPy nor torch.

The rules are the same for all three:

- Hidden files and folders, and what systems leave behind (``JUNK``), are not listed.
- Links are followed. In an archive, the target must be in the archive too.
- What cannot be read is listed with the reason and never opened: a broken link, a device, a pipe, an encrypted file.
- A backslash or a colon in a name is a character like others. In an archive, a name that begins with ``/`` or holds
  ``..`` is refused; of two members with one name the later one counts, as when it is unpacked.
"""

import contextlib
import errno
import lzma
import os
import posixpath
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from structgan.errors import UserError

Key = TypeVar("Key")
DAMAGE = (
    tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, lzma.LZMAError, zlib.error, struct.error,
    ValueError, RuntimeError,
)  # fmt: skip
"""A RuntimeError is an encrypted zip file, or one packed in an unknown way; a ValueError a name that is not UTF-8."""
JUNK = (
    "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir", "$recycle.bin", "lost+found",
    "system volume information",
)  # fmt: skip
"""Files and folders that systems leave behind, in lower case."""
FOLDER = "a folder"
BROKEN = "a broken link"
SPECIAL = "a device, a pipe or a socket"
HOPS = 40
"""Links that are followed for one name, as many as Linux follows."""
Node: TypeAlias = Any
"""``FOLDER``; a string that says why something cannot be read; or what ``read`` takes to read a file."""


def text(name: str) -> str:
    """A name as a message shows it: on one line, in any terminal."""
    return name if name.isprintable() else ascii(name)


class Tree:
    """A folder.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def scan(self, folder: str = "") -> dict[str, Node]:
        """What is directly inside a folder, sorted by name.

        Raises:
            UserError: the folder cannot be read.
        """
        found = self._scan(folder)
        return {name: found[name] for name in sorted(found) if name[:1] != "." and name.lower() not in JUNK}

    def read(self, wanted: Mapping[Key, Node]) -> Iterator[tuple[Key, bytes]]:
        """The contents of files that ``scan`` found.

        Raises:
            UserError: a file or the archive is damaged or cannot be read.
        """
        for key, entry in wanted.items():
            try:
                yield key, Path(entry.path).read_bytes()
            except OSError as error:
                raise UserError(f"{text(entry.path)}: cannot be read: {error.strerror}") from error

    def _scan(self, folder: str) -> dict[str, Node]:
        try:
            with os.scandir(self.path / folder) as entries:
                return {entry.name: _kind(entry) for entry in entries}
        except OSError as error:
            raise UserError(f"{text(str(self.path / folder))}: cannot be read: {error.strerror}") from error


def _kind(entry: os.DirEntry[str]) -> Node:
    try:
        mode = entry.stat().st_mode
    except OSError as error:
        broken = error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
        return BROKEN if broken else f"cannot be read: {error.strerror}"
    return FOLDER if stat.S_ISDIR(mode) else entry if stat.S_ISREG(mode) else SPECIAL


class Link(str):
    """A link in an archive: the path of its target from the archive's top."""


class Archive(Tree):
    """A tar (plain, gz, bz2 or xz) or a zip.

    Raises:
        UserError: it is damaged, or a member lies outside of it.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.zipped = not _is_tar(path) and zipfile.is_zipfile(path)  # a tar may end in a zip
        self.folders: dict[str, dict[str, Node]] = {"": {}}
        self.linked = False
        with _named(path):
            for name, node in _zip(path) if self.zipped else _tar(path):
                self._add(name, node)

    def read(self, wanted: Mapping[Key, Node]) -> Iterator[tuple[Key, bytes]]:
        """See ``Tree.read``. In the archive's order, because a compressed tar is slow to go back in."""
        last, content = None, b""
        with _named(self.path), zipfile.ZipFile(self.path) if self.zipped else tarfile.open(self.path) as archive:
            opened: Any = archive.open if isinstance(archive, zipfile.ZipFile) else archive.extractfile
            for key, member in sorted(wanted.items(), key=lambda item: _offset(item[1])):
                if member is not last:
                    with opened(member) as file:
                        last, content = member, file.read()
                yield key, content

    def _add(self, name: str, node: Node) -> None:
        if name.startswith("/") or ".." in name.split("/"):
            raise UserError(f"{self.path}: {text(name)}: a member outside of the archive")
        parts = posixpath.normpath(name).split("/")
        if parts == ["."]:
            return
        for depth in range(1, len(parts)):
            above = "/".join(parts[:depth])
            if above not in self.folders:
                self._add(above, FOLDER)
        self.linked |= isinstance(node, Link)
        if node is FOLDER:
            self.folders.setdefault("/".join(parts), {})
        self.folders["/".join(parts[:-1])][parts[-1]] = node

    def _scan(self, folder: str) -> dict[str, Node]:
        inside = self.folders.get(self._resolve(folder), {})
        return {name: self._target(f"{folder}/{name}".lstrip("/")) for name in inside} if self.linked else inside

    def _target(self, name: str) -> Node:
        """The node of a name, with its links followed."""
        found = self._resolve(name)
        above, _, leaf = found.rpartition("/")
        return FOLDER if found in self.folders else self.folders.get(above, {}).get(leaf, BROKEN)

    def _resolve(self, name: str) -> str:
        """The path of a name without links; a path that does not exist for a circle and a link to the outside."""
        for _ in range(HOPS if self.linked else 0):
            parts = name.split("/")
            for depth in range(1, len(parts) + 1):
                node = self.folders.get("/".join(parts[: depth - 1]), {}).get(parts[depth - 1])
                if isinstance(node, Link):
                    name = posixpath.normpath("/".join([node, *parts[depth:]]))
                    break
            else:
                return "" if name == "." else name
        return ".." if self.linked else name


def open_tree(path: Path) -> Tree:
    """A folder, a tar or a zip, listed.

    Raises:
        UserError: see ``is_folder``; an archive is damaged.
    """
    return Tree(path) if is_folder(path) else Archive(path)


def is_folder(path: Path) -> bool:
    """Whether there is a folder at ``path``, and not a file.

    Raises:
        UserError: there is nothing, or something else.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        reason = "no such file or folder" if isinstance(error, FileNotFoundError) else error.strerror
        raise UserError(f"{path}: {reason}") from error
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        raise UserError(f"{path}: {SPECIAL}")
    return stat.S_ISDIR(mode)


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except DAMAGE as error:
        reason = str(error).partition("\n")[0].rstrip(":")
        raise UserError(f"{path}: unreadable, truncated or corrupted ({reason})") from error


def _is_tar(path: Path) -> bool:
    with _named(path):
        return tarfile.is_tarfile(path)


def _tar(path: Path) -> Iterator[tuple[str, Node]]:
    with tarfile.open(path) as archive:
        for member in archive:
            if member.issym():
                yield member.name, _link(member.name, member.linkname)
            elif member.islnk():  # its target is a path from the top
                yield member.name, _link("", member.linkname)
            else:
                yield member.name, FOLDER if member.isdir() else member if member.isreg() else SPECIAL
        archive.fileobj.seek(archive.offset)
        if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("no end mark after its last member")  # tarfile takes a damaged header for the end


def _zip(path: Path) -> Iterator[tuple[str, Node]]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            name = member.filename
            if not member.flag_bits & 0x800:  # zipfile takes it for cp437, but most tools write the system's bytes
                with contextlib.suppress(UnicodeEncodeError):
                    name = name.encode("cp437").decode(errors="surrogateescape")
            kind = stat.S_IFMT(member.external_attr >> 16)  # 0 in archives from systems without file modes
            if member.is_dir():
                yield name, FOLDER
            elif member.flag_bits & 1:
                yield name, "an encrypted file"
            elif kind == stat.S_IFLNK:
                yield name, _link(name, os.fsdecode(archive.read(member)))
            else:
                yield name, member if kind in (0, stat.S_IFREG) else SPECIAL


def _link(name: str, target: str) -> Link:
    return Link(posixpath.normpath(posixpath.join(posixpath.dirname(name), target)))


def _offset(member: tarfile.TarInfo | zipfile.ZipInfo) -> int:
    return member.header_offset if isinstance(member, zipfile.ZipInfo) else member.offset_data
