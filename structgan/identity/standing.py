"""How results stand to a plan: whose identity, protocol and sources the files of a run carry.

Reads small files and nothing else, so that a suite of thousands of runs is judged in seconds. Tables, the
planner, ``structgan status`` and ``structgan gc`` all judge by what is here. Imports no torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from structgan import sources
from structgan.errors import UserError
from structgan.files import read_json

FILES = {
    "probe": ("probe.json", "map.json"),
    "fidelity": ("fidelity.json", "samples.png"),
    "dense": ("dense.json",),
    "transfer": ("transfer.json",),
}
"""What a kind of evaluation leaves in the folder of its run; the first one holds the numbers."""
METRICS = tuple(FILES)


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


def result(path: Path) -> dict[str, Any] | None:
    """A metric file; empty where it is damaged, None without it."""
    return optional(path) if path.exists() else None


def environment(run: Path, identity: str) -> dict[str, Any]:
    """The env.json of a run that is trained under ``identity``; empty for any other."""
    found = optional(run / "env.json")
    return found if found.get("identity") == identity else {}


def strayed(run: Mapping[str, Any], upstream: Mapping[str, Any]) -> str | None:
    """Why a run was not trained with what its upstream run holds now, in words, or None.

    Args:
        run: its env.json, with ``upstream``.
        upstream: env.json of the upstream run; empty where it is not there.
    """
    made_with = run.get("upstream", {})
    if not upstream:
        return "its upstream run is not trained"
    if made_with.get("identity") != upstream.get("identity"):
        return "trained with an upstream run of another identity"
    stored = upstream.get("checksums", {}).get("files", {})
    same = all(stored.get(name) == digest for name, digest in made_with["files"].items())
    return None if same else f"trained with other weights than {made_with['run']} holds now"


def tree_of(run: Path, cell: Mapping[str, Any]) -> Path:
    """The tree that holds a cell's run, which the plan's paths are relative to."""
    return Path(str(run.absolute()).removesuffix(cell["run"]))


def upstream_run(run: Path, cell: Mapping[str, Any]) -> Path | None:
    """The folder of the run that a cell's run depends on, in the tree that holds the cell's own; None for most."""
    wanted = cell.get("upstream")
    return wanted and tree_of(run, cell) / wanted["run"]


def other_images(trained: Mapping[str, Any], data: Path) -> str | None:
    """Why a run was not trained on the images that its plan asks for, in words, or None.

    Args:
        trained: its env.json.
        data: the prepared data set, which may be missing: then nothing is known. Its settings lie beside it.
    """
    prepared, settings = header(data), optional(data.with_suffix(".json"))
    if not prepared:
        return None
    if settings and prepared.get("identity") != sources.fingerprint(settings):
        return f"'{data.stem}' is prepared with other settings or sources than {data.stem}.json asks for"
    same = trained.get("dataset", {}).get("content_hash") == prepared.get("content_hash")
    return None if same else f"trained on another '{data.stem}' than data/prepared holds"


def estranged(run: Path, cell: Mapping[str, Any]) -> str | None:
    """Why a finished run was not trained with the images and the upstream run that are there now, in words, or None.

    Args:
        run: its folder.
        cell: its cell of the plan.
    """
    trained = environment(run, cell["identity"])
    if not trained:
        return None
    if problem := other_images(trained, tree_of(run, cell) / "data/prepared" / f"{cell['dataset']}.safetensors"):
        return problem
    above = upstream_run(run, cell)
    return strayed(trained, environment(above, cell["upstream"]["identity"])) if above else None


def depths(cells: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many runs have to be finished one after the other before each run of a plan, by its folder; 0 for most."""
    above = {cell["run"]: cell["upstream"]["run"] for cell in cells if "upstream" in cell}

    def depth(run: str) -> int:
        return 1 + depth(above[run]) if run in above else 0

    return {cell["run"]: depth(cell["run"]) for cell in cells}


def planned(path: Path, identity: str) -> str | None:
    """Why a config.json is not whole and of the plan's identity, in words, or None."""
    try:
        record = read_json(path)
    except UserError as error:
        return clause(error, path)
    content = {key: value for key, value in record.items() if key != "identity"} if isinstance(record, dict) else {}
    if not content or record.get("identity") != sources.fingerprint(content):
        return "damaged or edited, its content does not have the identity that it holds"
    if record["identity"] != identity:
        return f"identity {record['identity'][:12]}, the plan has {identity[:12]}: plan again"
    return None


def clause(error: UserError, path: Path) -> str:
    """An error's words without the path that they open with."""
    return str(error).removeprefix(f"{path}: ")


def fault(result: Mapping[str, Any], identity: str, evaluation: Mapping[str, Any] | None) -> str | None:
    """Why a metric file is not what the plan asks for, in words, or None.

    Args:
        result: the file's content.
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
