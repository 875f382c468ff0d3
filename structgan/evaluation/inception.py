"""Where the weights of torch-fidelity's Inception network are: a given file, the download cache, or the network."""

from __future__ import annotations

import pickle
import socket
from pathlib import Path

import torch

from structgan import files
from structgan.errors import UserError

URL = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
SHA256_PREFIX = "6726825d"
TIMEOUT_S = 30


def weights(path: str | Path | None = None) -> Path:
    """The weights file, downloaded once into torch's hub cache if no path is given, and checked to hold tensors only.

    Raises:
        UserError: the file is missing or damaged, or there is no network.
    """
    if path is None:
        found = Path(torch.hub.get_dir()) / "checkpoints" / URL.rsplit("/", 1)[1]
        if not found.is_file():
            _download(found)
    else:
        found = Path(path)
        if not found.is_file():
            raise UserError(f"fidelity.weights: {found}: no such file; it should be {URL}")
    try:
        torch.load(found, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise UserError(f"{found}: damaged, or no file of weights; fetch it again from {URL}") from error
    return found


def _download(target: Path) -> None:
    """Fetch the published file and check the hash in its name; leaves nothing behind when it fails."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_S)
    try:
        with files.replacing(target) as temporary:
            try:
                torch.hub.download_url_to_file(URL, str(temporary), hash_prefix=SHA256_PREFIX)
            except (OSError, RuntimeError) as error:  # urllib's errors are OSErrors, a wrong hash is a RuntimeError
                raise UserError(
                    f"Inception weights: cannot fetch {URL} ({error}); put the file at {target}, or set its path as "
                    "fidelity.weights, or set fidelity.extractor to embedded"
                ) from error
    finally:
        socket.setdefaulttimeout(before)
