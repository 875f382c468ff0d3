"""Published archives: found in the folder of raw files or downloaded into it, and used only if their MD5 is right."""

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
    """The archive that ``url`` names, in ``raw``, after its MD5 was compared.

    MD5 because that is what the publishers state: it finds damage, and is no defence against a forger.

    Raises:
        UserError: there is no network (names the URL and the folder to put the file in), the file is truncated or
            corrupted, the disk is full.
    """
    target = raw / Path(urlparse(url).path).name
    if not target.exists():
        _download(url, md5, target)
        return target
    with target.open("rb") as file:
        found = hashlib.file_digest(file, _md5).hexdigest()
    if found != md5:
        raise UserError(f"{target}: truncated or corrupted (MD5 {found}, not {md5}); delete it and fetch {url} again")
    return target


def _download(url: str, md5: str, target: Path) -> None:
    digest = _md5()
    with replacing(target) as temporary, temporary.open("wb") as file:
        for chunk in _chunks(url, target):
            digest.update(chunk)
            file.write(chunk)
        if digest.hexdigest() != md5:
            raise UserError(f"{url}: what arrived has MD5 {digest.hexdigest()}, not {md5}; nothing was kept, run again")


def _chunks(url: str, target: Path) -> Iterator[bytes]:
    """The bytes at ``url``, with a progress bar; whatever the network does wrong becomes one line."""
    try:
        with urlopen(url, timeout=TIMEOUT_S) as answer:
            size = int(answer.headers.get("Content-Length") or 0)
            with Progress(f"download {target.name}", -(-size // CHUNK) or None, "MiB") as progress:
                while chunk := answer.read(CHUNK):
                    yield chunk
                    progress.advance()
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        where = f"without a network, fetch it elsewhere and put it in {target.parent.resolve()}/"
        raise UserError(f"{target.name}: cannot be downloaded from {url} ({reason}); {where}") from error


def _md5() -> hashlib._Hash:
    return hashlib.md5(usedforsecurity=False)
