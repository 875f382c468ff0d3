"""Data sets: each is prepared once into one memory-mappable uint8 file, and then lives on the device.

``prepare`` finds the builder that ``settings["builder"]`` names, ``load`` opens what it wrote. A builder is a module
of this package with ``DEFAULTS`` (every settings key with its default) and ``build(settings, raw) -> Parts``.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from structgan import sources
from structgan.datasets.options import resolve
from structgan.datasets.store import Dataset, Parts, Split, load, save
from structgan.errors import UserError, unknown

__all__ = ["BUILDERS", "Dataset", "Parts", "Split", "load", "prepare"]

BUILDERS = {
    "cifar10": "cifar",
    "cifar100": "cifar",
    "digits": "digits",
    "folder": "folder",
    "imagenet10": "imagenet",
    "imagenette": "imagenette",
    "stl10": "stl",
}
"""Name of each builder and the module of this package that holds it."""


def prepare(settings: Mapping[str, Any], out: Path, raw: Path) -> dict[str, Any]:
    """Build a data set and write it to ``out``, whole or not at all.

    Args:
        settings: ``builder``, the keys of that builder, and optionally ``name`` (default: the stem of ``out``),
            ``note`` (what to say beside numbers from it), ``title`` and ``reference`` (for tables; not used here),
            ``sources`` and ``identity`` (of a plan: the digest of the builder, and the identity of the settings).
        out: the ``.safetensors`` file to write.
        raw: folder of the files as they were published; missing ones are downloaded into it.

    Returns:
        name, path, content_hash, image_size, number of classes, images of each split, bytes and seconds.

    Raises:
        UserError: an unknown or wrong setting; a raw file that is missing, truncated, corrupted or unreachable; a
            class with no image; a disk that is full; settings that were planned for other sources.
    """
    begin = time.perf_counter()
    out = Path(out)
    builder = settings.get("builder")
    if not isinstance(builder, str):
        raise UserError(f"data set '{out.stem}': the key 'builder' is missing (allowed: {', '.join(sorted(BUILDERS))})")
    if builder not in BUILDERS:
        raise unknown("builder", builder, BUILDERS, f"data set '{out.stem}'")
    module = importlib.import_module(f"structgan.datasets.{BUILDERS[builder]}")
    if settings.get("sources") not in (None, sources.builder_digest(builder)):
        raise UserError(f"data set '{out.stem}': planned for other sources than these; plan again")
    asked = {key: value for key, value in settings.items() if key not in ("sources", "identity")}
    resolved = resolve(asked, module.DEFAULTS[builder], out.stem)
    parts: Parts = module.build(resolved, Path(raw))
    summary = save(out, parts, resolved, settings.get("identity", ""))
    return {**summary, "seconds": round(time.perf_counter() - begin, 3)}
