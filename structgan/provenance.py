"""Where a result lies, what made it, and whether it is whole. Imports no torch.

The path of a result is its identity: it ends in the first digits of a SHA-256 over all that the result depends on, as
in git. So a result is never overwritten by another one, and file times mean nothing. A file is read only after its
checks: its own checksum, the identity recomputed from config.json, and the hashes of the files it was made from.
Tables, figures, jobs, ``structgan status`` and ``structgan verify`` read results with these functions. Each reader
raises ``UserError`` if a file is missing, and ``Damaged`` if it was edited or belongs to something else.
"""

import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from structgan import sources
from structgan.errors import UserError
from structgan.files import read_json, sha256, write_json

ID = 8
"""Digits of an identity that a path shows."""
RUNS = Path("results/runs")
PLANS = Path("results/plans")
PROTOCOLS = Path("results/protocols")
DATA = Path("data/prepared")
NAMES = ("dataset", "method", "augmentation", "variant", "seed")
DEPTH = 7
"""Folders from ``results`` down to a run."""


class Damaged(UserError):
    """A file exists and does not hold what it should."""


def run_path(config: Mapping[str, Any]) -> str:
    """results/runs/<dataset>/<method>/<augmentation>/<variant>/seed=<seed>/<id> of a run's config.json."""
    names = "/".join(str(config[name]) for name in NAMES[:4])
    return f"{RUNS}/{names}/seed={config['seed']}/{config['identity'][:ID]}"


def data_path(name: str, identity: str) -> str:
    """data/prepared/<dataset>-<id>.safetensors of a data set whose settings have this identity."""
    return f"{DATA}/{name}-{identity[:ID]}.safetensors"


def extractor_path(dataset: str, data: str, planned: Mapping[str, Any]) -> str:
    """results/runs/<dataset>/extractor-<id>.safetensors: trained on this ``data``, under the protocol "extractor"."""
    identity = sources.fingerprint({"data": data, "protocol": planned["identity"]})
    return f"{RUNS}/{dataset}/extractor-{identity[:ID]}.safetensors"


def tree_of(run: Path) -> Path:
    """The root of the tree that holds a run; the working folder for a run that lies elsewhere than planned."""
    parts = run.absolute().parts
    inside = parts[-DEPTH - 1 : -DEPTH + 1] == RUNS.parts
    return Path(*parts[: -DEPTH - 1]) if inside else Path()


def tree_of_plan(plan: Path) -> Path:
    """The root of the tree that holds a plan, relative to the working folder where it is inside."""
    root = plan.absolute().parents[3]
    return root.relative_to(Path.cwd()) if root.is_relative_to(Path.cwd()) else root


def in_order(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with their keys sorted: files that have one identity have the same bytes, however they were merged."""
    ordered: dict[str, Any] = json.loads(json.dumps(settings, sort_keys=True))
    return ordered


def identified(content: Mapping[str, Any]) -> dict[str, Any]:
    """Content with its ``identity``, the SHA-256 of its canonical JSON."""
    return {**content, "identity": sources.fingerprint(content)}


def protocol(evaluation: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The content of results/protocols/<evaluation>-<id>.json: settings, digest of the sources, identity."""
    digest = sources.evaluation_digest(evaluation)
    return identified({"evaluation": evaluation, "settings": in_order(settings), "sources": digest})


def protocol_path(planned: Mapping[str, Any]) -> str:
    """results/protocols/<evaluation>-<id>.json."""
    return f"{PROTOCOLS}/{planned['evaluation']}-{planned['identity'][:ID]}.json"


def mark(planned: Mapping[str, Any]) -> dict[str, str]:
    """What a result says of the protocol that it was measured under: its name and its identity."""
    return {"name": planned["evaluation"], "identity": planned["identity"]}


def read_identified(path: Path) -> dict[str, Any]:
    """A config.json, a protocol or a data set's settings: the identity that it holds is that of its content."""
    record = read_json_object(path)
    if record != identified({key: value for key, value in record.items() if key != "identity"}):
        raise Damaged(f"{path}: edited or damaged, its content does not have the identity that it holds")
    if (named := re.search(f"-([0-9a-f]{{{ID}}})$", path.stem)) and named[1] != record["identity"][:ID]:
        raise Damaged(f"{path}: its content is that of {record['identity'][:ID]}, not of the identity in its name")
    return record


def read_protocol(path: Path) -> dict[str, Any]:
    """The protocol of an evaluation, before it runs; one that was planned for other sources is refused."""
    found = read_identified(path)
    if found["sources"] != sources.evaluation_digest(found["evaluation"]):
        raise UserError(f"{path}: planned for other sources than these; plan again")
    return found


def read_config(run: Path) -> dict[str, Any]:
    """The config.json of a run's folder."""
    config = read_identified(run / "config.json")
    if re.fullmatch(f"[0-9a-f]{{{ID}}}", run.name) and run.name != config["identity"][:ID]:
        raise Damaged(f"{run}/config.json: of run {config['identity'][:ID]}, not of the run that the folder names")
    return config


def read_training(run: Path) -> dict[str, Any]:
    """The env.json of a finished run: seconds, steps, versions, and the checksums of what its training wrote."""
    config, env = read_config(run), read_sealed(run / "env.json")
    if env.get("identity") != config["identity"]:
        raise Damaged(f"{run}/env.json: of another run than config.json")
    return env


def read_evaluation(run: Path, name: str, trained: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The numbers of an evaluation, such as ``probe-1f3a9c2e.json``; ``trained`` is ``read_training``'s, if known."""
    path, trained = run / name, trained or read_training(run)
    record = read_sealed(path)
    if record.get("identity") != trained["identity"]:
        raise Damaged(f"{path}: measured on another run")
    about = record.get("evaluation")
    if not isinstance(about, dict) or path.stem != f"{about.get('name')}-{str(about.get('identity'))[:ID]}":
        raise Damaged(f"{path}: measured under another protocol than its name says")
    if not isinstance(record.get("metrics"), dict):
        raise Damaged(f"{path}: holds no metrics")
    for file, digest in record["checksums"]["inputs"].items():
        if trained["checksums"]["files"].get(file, digest) != digest:
            raise Damaged(f"{path}: measured on another {file} than env.json names")
    return record


def read_results(run: Path, planned: Mapping[str, Any]) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """What is there of a run of a plan: its records by evaluation, and why the others are damaged.

    "training" is env.json. Files that were written with a record are verified too, but for weights, and for pictures
    that are not there: records without both, a few kilobytes a run, give the same tables.
    """
    records: dict[str, dict[str, Any]] = {}
    damaged = {}
    for name, file in {"training": "env.json", **planned["evaluations"]}.items():
        if (run / file).exists():
            try:
                trained = records.get("training") or read_training(run)
                if trained["identity"] != planned["identity"]:
                    raise Damaged(f"{run}/config.json: of another run than the plan names")
                record = trained if name == "training" else read_evaluation(run, file, trained)
                for beside in record["checksums"]["files"]:
                    if not beside.endswith(".safetensors") and (not beside.endswith(".png") or (run / beside).exists()):
                        read_companion(run, record, beside)
                records[name] = record
            except UserError as error:
                damaged[name] = str(error)
    return records, damaged


def read_companion(run: Path, of: Mapping[str, Any], name: str) -> Path:
    """The path of a file that was written with a sealed record of the run, such as history.json with env.json."""
    path, digest = run / name, of["checksums"]["files"].get(name)
    if digest is None or not path.exists():
        raise UserError(f"{path}: no such file")
    if sha256(path) != digest:
        raise Damaged(f"{path}: edited or damaged, it does not have the checksum that was written with it")
    return path


def own_checksum(record: Mapping[str, Any]) -> str:
    """SHA-256 of a record as canonical JSON, without the checksum that it already holds of itself."""
    checksums = {key: value for key, value in record["checksums"].items() if key != "self"}
    return sources.fingerprint(json.loads(json.dumps({**record, "checksums": checksums})))


def write_sealed(
    path: Path, record: Mapping[str, Any], made: Iterable[Path] = (), inputs: Iterable[Path] = (), **digests: str
) -> None:
    """Write a record with its checksums, atomically.

    Its last key is ``checksums``: ``self`` (of all other keys and of the two following), ``files`` and ``inputs``
    (SHA-256 of a file's bytes, by name).

    Args:
        path: the JSON file.
        record: its content.
        made: files that were written with it.
        inputs: files that it was made from.
        digests: further inputs, by name, whose digest is known.
    """
    files = {file.name: sha256(file) for file in made}
    checksums = {"files": files, "inputs": {**{file.name: sha256(file) for file in inputs}, **digests}}
    own = own_checksum({**record, "checksums": checksums})
    write_json(path, {**record, "checksums": {"self": own, **checksums}})


def read_sealed(path: Path) -> dict[str, Any]:
    """A record that ``write_sealed`` wrote."""
    record = read_json_object(path)
    checksums = record.get("checksums")
    kinds = {"self": str, "files": dict, "inputs": dict}
    if not isinstance(checksums, dict) or not all(isinstance(checksums.get(key), kinds[key]) for key in kinds):
        raise Damaged(f"{path}: holds no checksums, so that it cannot be verified")
    if own_checksum(record) != checksums["self"]:
        raise Damaged(f"{path}: edited or damaged, its content does not have the checksum that it holds")
    return record


def check_rights(records: Path, page: Path) -> None:
    """Refuse a page that may not be written, or records of Snakemake: it writes these even for a dry run."""
    for path in (page, records, *records.glob("metadata/*"), *records.glob("iocache/*")):
        if path.exists() and not os.access(path, os.R_OK | os.W_OK):
            raise UserError(f"{path}: may not be written, as planning needs to; plan in a copy of the tree")


def whole(seal: Path) -> bool:
    """Whether a sealed record and the files that were written with it are as they were."""
    try:
        record = read_sealed(seal)
        return all(read_companion(seal.parent, record, name) for name in record["checksums"]["files"])
    except UserError:
        return False


def read_json_object(path: Path) -> dict[str, Any]:
    """A JSON object; its checksums are not looked at."""
    if not path.exists():
        raise UserError(f"{path}: no such file")
    try:
        record = read_json(path)
    except UserError as error:
        raise Damaged(str(error)) from error
    if not isinstance(record, dict):
        raise Damaged(f"{path}: not a JSON object")
    return record
