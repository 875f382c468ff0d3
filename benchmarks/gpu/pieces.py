"""Files in one bundle, cut into pieces that fit through a narrow channel, with the SHA-256 of each piece and file.

A bundle ``name`` is ``name.json``, which lists both, and ``name.000``, ``name.001``, …: the files' bytes one after the
other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from structgan.errors import UserError
from structgan.files import read_json, replacing, write_json

PIECE = 15 * 2**20
"""Bytes of a piece: clear of the usual limit of 16 MiB."""
CHUNK = 2**20
KEYS = ("about", "files", "pieces")


def stream(paths: Iterable[Path]) -> Iterator[bytes]:
    """The bytes of the files, one after the other."""
    for path in paths:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk


def describe(path: Path) -> dict[str, Any]:
    """Name, size and SHA-256 of a file."""
    with path.open("rb") as file:
        return {
            "name": path.name,
            "bytes": path.stat().st_size,
            "sha256": hashlib.file_digest(file, "sha256").hexdigest(),
        }


def write(folder: Path, name: str, paths: list[Path], about: dict[str, Any], size: int = PIECE) -> None:
    """Write a bundle in place of an earlier one of its name; the list comes last, so that it never lies.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in (folder / f"{name}.json", *folder.glob(f"{name}.[0-9][0-9][0-9]")):
        old.unlink(missing_ok=True)
    pieces: list[dict[str, Any]] = []
    buffer = bytearray()

    def cut(length: int) -> None:
        piece = folder / f"{name}.{len(pieces):03d}"
        with replacing(piece) as temporary:
            temporary.write_bytes(buffer[:length])
        del buffer[:length]
        pieces.append(describe(piece))

    for chunk in stream(paths):
        buffer += chunk
        while len(buffer) >= size:
            cut(size)
    if buffer:
        cut(len(buffer))
    write_json(folder / f"{name}.json", {"about": about, "files": [describe(path) for path in paths], "pieces": pieces})


def read(folder: Path, name: str, to: Path) -> dict[str, Any]:
    """Verify a bundle, put its files into ``to``, and return what was said about it.

    Nothing is written before every piece is verified.

    Raises:
        UserError: the list or a piece is missing, damaged, or no bundle's; the disk is full.
    """
    listed = read_json(folder / f"{name}.json")
    if not isinstance(listed, dict) or not set(KEYS) <= listed.keys():
        raise UserError(f"{folder}/{name}.json: no list of pieces (needed: {', '.join(KEYS)})")
    paths = []
    for piece in listed["pieces"]:
        paths.append(folder / Path(piece["name"]).name)
        if not paths[-1].exists():
            raise UserError(f"{paths[-1]}: missing; fetch it again, nothing was taken over")
        if describe(paths[-1]) != piece:
            raise UserError(f"{paths[-1]}: damaged, its SHA-256 is not the listed one; fetch it again")
    chunks, buffer = stream(paths), bytearray()
    for record in listed["files"]:
        while len(buffer) < record["bytes"] and (chunk := next(chunks, b"")):
            buffer += chunk
        content = bytes(buffer[: record["bytes"]])
        del buffer[: record["bytes"]]
        if hashlib.sha256(content).hexdigest() != record["sha256"]:
            raise UserError(f"{folder}/{name}.json: the pieces do not hold '{record['name']}'; fetch all of them again")
        with replacing(to / Path(record["name"]).name) as temporary:
            temporary.write_bytes(content)
    about = listed["about"]
    assert isinstance(about, dict)
    return about
