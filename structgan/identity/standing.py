"""How results stand to a plan: whose identity, protocol and sources the files of a run carry.

Reads the heads of small files and nothing else, so that a suite of thousands of runs is judged in seconds. Tables, the
planner, ``structgan status`` and ``structgan gc`` all judge by what is here. Imports no torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from structgan.errors import UserError
from structgan.files import read_json

HEAD = 4096
METRICS = ("probe", "fidelity", "dense", "transfer")
FILES = {
    "probe": ("probe.json",),
    "fidelity": ("fidelity.json", "samples.png"),
    "dense": ("dense.json",),
    "transfer": ("transfer.json",),
}
"""What a kind of evaluation leaves in the folder of its run; the first one holds the numbers."""


def asked(plan: Mapping[str, Any], cell: Mapping[str, Any]) -> tuple[str, ...]:
    """The kinds of evaluation that a plan asks of one of its cells, in the order of ``METRICS``."""
    able = {
        "fidelity": bool(plan["methods"].get(cell["method"], {}).get("samples")),
        "transfer": cell["dataset"] in plan.get("transfer", {}),
    }
    return tuple(kind for kind in METRICS if kind in plan["evaluation"] and able.get(kind, True))


def images(plan: Mapping[str, Any]) -> list[str]:
    """The data sets of a plan: those that it trains on, then those that it only transfers to."""
    return list(dict.fromkeys([*plan["datasets"], *plan.get("targets", {})]))


def head(path: Path, size: int = HEAD) -> dict[str, Any] | None:
    """The leading members of a JSON object that lie whole in its first ``size`` bytes; None without the file.

    A metric file opens with what it was measured under; the thousands of points that follow are not read.
    """
    try:
        with path.open("rb") as file:
            text = file.read(size).decode("utf-8", "ignore")
    except OSError:
        return None
    found: dict[str, Any] = {}
    decoder, at = json.JSONDecoder(), text.find("{") + 1
    try:
        while at and at < len(text):
            key, at = decoder.raw_decode(text, _skip(text, at, " \n\r\t,"))
            value, at = decoder.raw_decode(text, _skip(text, at, " \n\r\t:"))
            if at < len(text):  # a number may go on behind the last byte read
                found[key] = value
    except (json.JSONDecodeError, TypeError):
        pass
    return found


def _skip(text: str, at: int, letters: str) -> int:
    while at < len(text) and text[at] in letters:
        at += 1
    return at


def header(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file, without its tensors; empty where it is missing or damaged."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > min(path.stat().st_size, 100_000_000):
                return {}
            return dict(json.loads(file.read(length)).get("__metadata__", {}))
    except (OSError, ValueError, AttributeError):
        return {}


def optional(path: Path) -> dict[str, Any]:
    """A small JSON object; empty where it is missing or damaged."""
    try:
        found = read_json(path)
    except UserError:
        return {}
    return found if isinstance(found, dict) else {}


def environment(run: Path, identity: str) -> dict[str, Any]:
    """The env.json of a run that is trained under ``identity``; empty for any other."""
    found = optional(run / "env.json")
    return found if found.get("identity") == identity else {}


def fault(result: Mapping[str, Any], identity: str, evaluation: Mapping[str, Any] | None) -> str | None:
    """Why a metric file is not what the plan asks for, in words, or None.

    Args:
        result: the file's content or its head.
        identity: that the plan gives the run.
        evaluation: the plan's ``evaluation`` of this kind: fingerprint of the protocol and digest of the sources.
    """
    if result.get("identity") != identity:
        return "measured on a run of another identity"
    found = result.get("evaluation")
    if not isinstance(found, Mapping) or evaluation is None:
        return "measured under an unknown protocol"
    if found.get("protocol") != evaluation["protocol"]:
        return "measured under another protocol"
    return "measured by other sources" if found.get("sources") != evaluation["sources"] else None
