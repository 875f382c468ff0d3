"""Raw data as a user has it: pictures, folders and archives of them, and the settings of the smallest data set."""

import hashlib
import io
import tarfile
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


def pack(path: Path, members: dict[str, bytes]) -> Path:
    """A tar of the given members, compressed as its suffix says; a name with a final slash is a folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = {".xz": "w:xz", ".gz": "w:gz", ".tgz": "w:gz"}.get(path.suffix, "w")
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name.rstrip("/"))
            info.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def tree_members(splits=("train", "test"), classes=("cat", "dog"), count: int = 2) -> dict[str, bytes]:
    names = [f"{split}/{name}/{i}.png" for split in splits for name in classes for i in range(count)]
    return {name: picture(i) for i, name in enumerate(names)}


def unpack(root: Path, members: dict[str, bytes]) -> Path:
    for name, content in members.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root
