"""Download published archives, or find them in the folder of raw files, and check their MD5."""

from __future__ import annotations

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


def fetch(url: str, md5: str, raw: Path) -> Path:
    """The archive at ``url`` as a file in ``raw``, downloaded if it is not there.

    MD5 is what the publishers state. It detects damage, not forgery. torchvision's download is not used: it has no
    timeout, writes in place and keeps a damaged file.

    Raises:
        UserError: the file is damaged, cannot be downloaded, or does not fit on the disk.
    """
    target = raw / Path(urlparse(url).path).name
    digest = hashlib.md5(usedforsecurity=False)
    if target.exists():
        with target.open("rb") as file:
            found = hashlib.file_digest(file, lambda: digest).hexdigest()
        if found != md5:
            raise UserError(f"{target}: truncated or corrupted (MD5 {found}, not {md5}); delete it and get {url} again")
        return target
    with replacing(target) as temporary, temporary.open("wb") as file:
        for chunk in _download(url, target):
            digest.update(chunk)
            file.write(chunk)
        if digest.hexdigest() != md5:
            raise UserError(f"{url}: the download has MD5 {digest.hexdigest()}, not {md5}; it was deleted, run again")
    return target


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
