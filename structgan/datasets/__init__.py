"""Data sets: each is prepared once, as one memory-mapped file of uint8 images that then live on the device.

To add one, write ``structgan/datasets/NAME.py`` (``structgan.builders`` says what it holds) and a block
``datasets: {...: {builder: NAME, image_size: ...}}`` in the configuration.
"""

import importlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from structgan import builders, sources
from structgan.datasets.store import Dataset, Parts, Split, load, save
from structgan.errors import UserError

__all__ = ["Dataset", "Parts", "Split", "load", "prepare"]


def prepare(settings: Mapping[str, Any], out: Path, raw: Path) -> dict[str, Any]:
    """Build a data set and write it to ``out`` atomically.

    Args:
        settings: ``builder``, that builder's settings, and optionally ``name`` (default: the stem of ``out``), ``note``
            (shown beside numbers from it), and from a plan ``sources`` (the digest of the builder) and ``identity`` (of
            the settings).
        out: the ``.safetensors`` file to write.
        raw: the folder of downloaded files. Missing files are downloaded into it.

    Returns:
        name, path, content_hash, note, image_size, number of classes, images of each split, bytes and seconds.

    Raises:
        UserError: wrong settings; a raw file that is missing, damaged or cannot be downloaded; a class without
            images; a full disk; a builder that changed after planning.
    """
    begin = time.perf_counter()
    out = Path(out)
    name = str(settings.get("name", out.stem))
    own = {key: value for key, value in settings.items() if key not in ("name", "sources", "identity")}
    resolved = {"name": name, **builders.resolve(own, lambda key: f"data set '{name}'")}
    if settings.get("sources") not in (None, sources.builder_digest(resolved["builder"])):
        raise UserError(f"data set '{name}': its builder changed after planning; plan again")
    module = importlib.import_module(f"structgan.datasets.{resolved['builder']}")
    try:
        parts: Parts = module.build(resolved, Path(raw))
    except OSError as error:
        raise UserError(f"data set '{name}': {error}") from error
    summary = save(out, parts, resolved, settings.get("identity", ""))
    return {**summary, "seconds": round(time.perf_counter() - begin, 3)}
