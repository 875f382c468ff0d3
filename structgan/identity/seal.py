"""Checksums inside JSON: a sealed file holds its own, those of the files made with it, and of what it was made from.

``checksums`` is the sealed file's last key: ``self`` (SHA-256 of the canonical JSON of all other keys and of the two
following), ``files`` and ``inputs`` (SHA-256 of a file's bytes, by name). Imports no torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from structgan.files import read_json, sha256, write_json

RESULTS = ("history.json", "env.json", "probe.json", "map.json", "fidelity.json", "samples.png")
"""What tables, figures and the page read of a run."""
OPTIONAL = ("dense.json", "transfer.json")
"""What they read besides, where the suite asks for it."""


def own(record: Mapping[str, Any]) -> str:
    """SHA-256 of a record as canonical JSON, without the checksum that it already holds of itself."""
    checksums = {key: value for key, value in record.get("checksums", {}).items() if key != "self"}
    plain = json.loads(json.dumps({**record, "checksums": checksums}))
    return hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def write(
    path: Path,
    record: Mapping[str, Any],
    made: Iterable[Path] = (),
    inputs: Iterable[Path] = (),
    **digests: str,
) -> None:
    """Write a record with its checksums, atomically.

    Args:
        path: the JSON file.
        record: its content.
        made: files that were written with it.
        inputs: files that it was made from.
        digests: further inputs, by name, whose digest is known.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    checksums: dict[str, Any] = {
        "files": {file.name: sha256(file) for file in made},
        "inputs": {**{file.name: sha256(file) for file in inputs}, **digests},
    }
    sealed = {**record, "checksums": checksums}
    write_json(path, {**sealed, "checksums": {"self": own(sealed), **checksums}})


def read(path: Path) -> tuple[dict[str, Any], str | None]:
    """A sealed file's content, and what is wrong with it: one clause, or None.

    Raises:
        UserError: it is missing or no JSON.
    """
    record = read_json(path)
    checksums = record.get("checksums") if isinstance(record, dict) else None
    if not isinstance(checksums, dict) or not {"self", "files", "inputs"} <= checksums.keys():
        return record if isinstance(record, dict) else {}, "holds no checksums, so that it cannot be verified"
    if own(record) != checksums["self"]:
        return record, "damaged or edited, its content does not have the checksum that it holds"
    return record, None


def results(plan_file: str | Path, folders: Iterable[Path]) -> str:
    """One SHA-256 over a suite's plan and the results of its runs, whose absence counts too.

    Args:
        plan_file: results/runs/<suite>/plan.json.
        folders: of the plan's runs, in its order.
    """
    total = hashlib.sha256(Path(plan_file).read_bytes())
    for folder in folders:
        for name in RESULTS:
            total.update((sha256(folder / name) if (folder / name).exists() else "-").encode())
        for name in OPTIONAL:
            if (folder / name).exists():
                total.update(f"{name} {sha256(folder / name)}".encode())
    return total.hexdigest()
