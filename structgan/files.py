"""Files that are either whole or absent: every write goes to a temporary neighbor, is synced, then renamed.

Each function raises ``UserError``, which names the file, if it is missing, damaged or cannot be written.
"""

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from structgan.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

SEAL, BLANK = "header", f"sha256:{'0' * 64}"
"""A key of a safetensors file's metadata, and its value while its checksum is computed."""


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], keep: Path | None = None) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends, and vanishes when it fails.

    If the write fails, the old file is untouched.

    Args:
        path: the file to write; its folder is made.
        keep: a neighbor's name that the old file takes, once the new one is whole on the disk.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)  # safetensors makes files that only their owner can read
        if keep is not None and target.exists():
            os.replace(target, keep)
        os.replace(temporary, target)
        sync_folder(target.parent)
    except OSError as error:
        raise write_error(error, target) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Bring a folder's new names to the disk, if its file system can do so for folders."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)


def sweep(folder: Path, names: Iterable[str]) -> None:
    """Remove what a killed process left half-written of the files ``names``; no other process may be writing them."""
    for name in names:
        for left in folder.glob(f".{name}.*.part"):
            left.unlink(missing_ok=True)


def write_error(error: OSError, target: Path) -> UserError:
    """The one line for a write that failed, with the reason that the system gives."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(f"{target}: no space left on the disk; nothing was half-written, free some and run again")
    return UserError(f"{target}: cannot be written: {error.strerror or error}")


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_new(texts: Mapping[Path, str]) -> None:
    """Write new files: all of them or none, and never in the place of one that is there."""
    made: list[Path] = []
    for target, text in texts.items():
        try:
            with open(target, "x", encoding="utf-8") as file:
                made.append(target)
                file.write(text)
        except OSError as error:
            for path in made:
                path.unlink()
            if isinstance(error, FileExistsError):
                raise UserError(f"{target}: exists already; nothing was written") from error
            raise write_error(error, target) from error


def make_newest(path: Path) -> None:
    """Set a file's time to now, or to later than its neighbors' of the same kind, whose clock may have been ahead."""
    times = [other.stat().st_mtime_ns + 1 for other in path.parent.glob(f"*{path.suffix}") if other != path]
    os.utime(path, ns=(max(time.time_ns(), *times, 0),) * 2)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write ``value`` as indented JSON, atomically. NaN and infinity are refused: they are no JSON."""
    write_text(path, json.dumps(value, indent=1, sort_keys=False, allow_nan=False) + "\n")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file."""
    try:
        if Path(path).exists() and not Path(path).is_file():
            raise OSError(errno.EINVAL, "not a file")  # a pipe or a device may have no end
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON ({error})") from error


def save_tensors(
    path: str | os.PathLike[str], tensors: "Mapping[str, Tensor]", metadata: Mapping[str, str], keep: Path | None = None
) -> None:
    """Save tensors as safetensors, atomically; equal content gives equal bytes. ``keep`` is as of ``replacing``.

    The header of a file that names its ``format`` holds its own checksum: no other file holds one of its bytes.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    flat = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with replacing(path, keep) as temporary:
        try:
            save_file(flat, temporary, {**metadata, **({SEAL: BLANK} if "format" in metadata else {})})
            finish_header(temporary)
        except SafetensorError as error:
            reason = re.search(r"os error (\d+)", str(error))
            number = int(reason[1]) if reason else errno.EIO
            raise OSError(number, os.strerror(number)) from error


def finish_header(path: Path) -> None:
    """Sort a safetensors header's metadata, which the library writes in an order that changes; put in its checksum."""
    with open(path, "r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        written = file.read(length)
        header = json.loads(written)
        header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        text = min(text, written, key=len).ljust(length)  # the header ends in spaces that align the tensors
        file.seek(8)
        file.write(text.replace(BLANK.encode(), header_checksum(text).encode()))


def header_checksum(header: bytes) -> str:
    """The checksum of a header in which a blank is in its place."""
    return f"sha256:{hashlib.sha256(header).hexdigest()}"


def load_tensors(path: str | os.PathLike[str], device: str = "cpu") -> "tuple[dict[str, Tensor], dict[str, str]]":
    """Load a safetensors file: its tensors and its metadata."""
    from safetensors import SafetensorError, safe_open

    if not Path(path).exists():
        raise UserError(f"{path}: no such file")
    try:
        with safe_open(path, framework="pt", device=device) as file:
            tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
        with open(path, "rb") as raw:
            header = raw.read(int.from_bytes(raw.read(8), "little"))
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: truncated or damaged ({error})") from error
    told = metadata.pop(SEAL, "")
    sealed = told or any(value.startswith(BLANK[:7]) for value in metadata.values())
    if sealed and header_checksum(header.replace(told.encode(), BLANK.encode())) != told:
        raise UserError(f"{path}: damaged (its header has another checksum than it was written with)")
    return tensors, metadata


def sha256(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
