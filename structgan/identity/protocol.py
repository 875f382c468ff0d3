"""What an evaluation stands on: the settings of one kind of job and the digest of the sources that it uses.

The planner writes one protocol file per kind, touched only where its content changes: an edit of the kNN code evaluates
the probes again and nothing else. A job refuses a protocol that was planned for other sources, and its numbers carry
the fingerprint and the digest, so that a table knows them for stale. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from structgan import sources
from structgan.errors import UserError
from structgan.files import read_json

KINDS = {
    "probe": ("seed", "linear", "svm", "kmeans", "kmeans_release", "knn", "few_labels", "map"),
    "fidelity": ("fidelity",),
    "extractor": ("extractor",),
    "dense": ("seed", "dense"),
    "transfer": ("seed", "transfer", "linear", "knn"),
}
"""Kinds of evaluation and the keys of the configuration's block ``evaluation`` that each uses."""
OPTIONAL = ("dense", "transfer")
"""Kinds that only a suite has whose ``evaluation`` holds a block of that name."""


def kinds(evaluation: Mapping[str, Any]) -> list[str]:
    """The kinds of evaluation that a configuration asks for."""
    return [kind for kind in KINDS if kind not in OPTIONAL or evaluation.get(kind)]


def make(evaluation: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """The content of a protocol file: ``kind``, ``settings`` and ``sources``.

    Distances of the embedded extractor hang on how it was trained, so that its settings are the fidelity's too.
    """
    keys = KINDS[kind]
    if kind == "fidelity" and evaluation.get("fidelity", {}).get("extractor", "embedded") == "embedded":
        keys = (*keys, *KINDS["extractor"])
    settings = {key: evaluation[key] for key in keys if key in evaluation}
    return {"kind": kind, "settings": settings, "sources": sources.evaluation_digest(kind)}


def mark(protocol: Mapping[str, Any]) -> dict[str, str]:
    """What a metric file says of its protocol: fingerprint of the settings, digest of the sources."""
    return {"protocol": sources.fingerprint(protocol["settings"]), "sources": protocol["sources"]}


def read(path: str | Path, kind: str) -> dict[str, Any]:
    """A job's protocol file, checked against the sources that are about to run.

    Raises:
        UserError: it is missing or damaged, of another kind of job, or was planned for other sources.
    """
    found = read_json(path)
    if not isinstance(found, dict) or not {"kind", "settings", "sources"} <= found.keys():
        raise UserError(f"{path}: not a protocol (needed: kind, settings, sources); plan again")
    if found["kind"] != kind:
        raise UserError(f"{path}: the protocol of '{found['kind']}', not of '{kind}'")
    if found["sources"] != sources.evaluation_digest(kind):
        raise UserError(f"{path}: planned for other sources than these; plan again")
    return found
