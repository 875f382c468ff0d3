"""Download published files, or find them in a folder, and check their hash."""

import hashlib
import http.client
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import urlopen

from structgan.errors import UserError
from structgan.files import replacing
from structgan.progress import Progress

CHUNK = 1 << 20
TIMEOUT_S = 30


def fetch(url: str, digest: str, folder: Path, algorithm: str = "md5") -> Path:
    """The file at ``url`` in ``folder``, downloaded if it is not there.

    torchvision's and torch.hub's downloads have no timeout.

    Args:
        digest: the beginning of the file's hash in hexadecimal, as its publishers state it. An MD5 detects damage, not
            forgery.

    Raises:
        UserError: the file is damaged, cannot be downloaded, or does not fit on the disk.
    """
    target = folder / Path(urlparse(url).path).name
    if not target.exists():
        with replacing(target) as temporary:
            with temporary.open("wb") as file:
                file.writelines(_download(url, target))
            if not (found := _hash(temporary, algorithm)).startswith(digest):
                raise UserError(f"{url}: the download has {algorithm} {found}, not {digest}; it was deleted, run again")
    elif not (found := _hash(target, algorithm)).startswith(digest):
        wrong = f"truncated or corrupted ({algorithm} {found}, not {digest})"
        raise UserError(f"{target}: {wrong}; delete it and get {url} again")
    return target


def _hash(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _download(url: str, target: Path) -> Iterator[bytes]:
    try:
        with urlopen(url, timeout=TIMEOUT_S) as answer:
            size = int(answer.headers.get("Content-Length") or 0)
            with Progress(f"download {target.name}", -(-size // CHUNK) or None, "MiB") as progress:
                while chunk := answer.read(CHUNK):
                    yield chunk
                    progress.advance()
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        remedy = f"without a network, download it elsewhere and put it in {target.parent.resolve()}/"
        raise UserError(f"{target.name}: cannot be downloaded from {url} ({reason}); {remedy}") from error
