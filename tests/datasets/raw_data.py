"""Raw data as a user has it: pictures, folders and archives of them, and the settings of the smallest data set."""

import hashlib
import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

TINY = {"builder": "digits", "train_size": 60, "test_size": 40, "image_size": 16}


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def picture(seed: int, size=(8, 8), mode: str = "RGB", kind: str = "PNG") -> bytes:
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), np.uint8)).convert(mode)
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


class Link(str):
    """The target of a symbolic link, in place of a file's content."""


class Hard(str):
    """Another member that is the same file."""


class Pipe:
    """A named pipe: whoever opens it waits forever."""


def pack(path: Path, members: dict) -> Path:
    """A tar or zip of the given members, compressed as its suffix says; a name with a final slash is a folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return zipped(path, members) if path.suffix == ".zip" else tarred(path, members)


def tarred(path: Path, members: dict) -> Path:
    mode = {".xz": "w:xz", ".gz": "w:gz", ".tgz": "w:gz"}.get(path.suffix, "w")
    kinds = {Link: tarfile.SYMTYPE, Hard: tarfile.LNKTYPE, Pipe: tarfile.FIFOTYPE}
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name.rstrip("/"))
            info.type = tarfile.DIRTYPE if name.endswith("/") else kinds.get(type(content), tarfile.REGTYPE)
            info.linkname = str(content) if isinstance(content, str) else ""
            info.size = len(content) if isinstance(content, bytes) else 0
            archive.addfile(info, io.BytesIO(content) if info.size else None)
    return path


def zipped(path: Path, members: dict) -> Path:
    """A name that is not UTF-8 is written as it is, without the mark for UTF-8, as tools for Latin-1 do."""
    raw = {name: "".join(c if c < "\ud800" else "~" for c in name) for name in members}
    kinds = {Link: stat.S_IFLNK, Pipe: stat.S_IFIFO}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(raw[name])
            info.external_attr = kinds.get(type(content), 0) << 16
            content = members[content] if isinstance(content, Hard) else content
            archive.writestr(info, b"" if isinstance(content, Pipe) else content)
    whole = path.read_bytes()
    for name in (name for name in members if name != raw[name]):
        whole = whole.replace(raw[name].encode(), os.fsencode(name))
    path.write_bytes(whole)
    return path


def tree_members(splits=("train", "test"), classes=("cat", "dog"), count: int = 2) -> dict[str, bytes]:
    names = [f"{split}/{name}/{i}.png" for split in splits for name in classes for i in range(count)]
    return {name: picture(i) for i, name in enumerate(names)}


def unpack(root: Path, members: dict) -> Path:
    for name, content in members.items():
        place = root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            place.mkdir(exist_ok=True)
        elif isinstance(content, Link):
            place.symlink_to(content)
        elif isinstance(content, Hard):
            place.hardlink_to(root / content)
        elif isinstance(content, Pipe):
            os.mkfifo(place)
        else:
            place.write_bytes(content)
    return root
