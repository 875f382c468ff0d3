"""File times that follow identity, so that Snakemake, which compares times, plans exactly what is out of date.

An input is stamped older than every output that was made from its content; an output of another content, protocol or
source is stamped older than its input. So neither touched files nor a value changed and changed back plan work, and
nothing stale passes for new. Only the planning process stamps. Imports no torch.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from structgan import sources
from structgan.files import read_json
from structgan.identity import times
from structgan.identity.standing import (
    FILES,
    asked,
    depths,
    environment,
    fault,
    header,
    images,
    optional,
    result,
    strayed,
)

DATA = Path("data/prepared")


def outputs(run: Path) -> list[Path]:
    """What training published in a folder; empty unless it did so to the end."""
    networks = [path for path in run.glob("*.safetensors") if not path.name.startswith("state.")]
    files = [*networks, run / "history.json", run / "env.json"]
    return files if networks and all(file.exists() for file in files) else []


def oldest(paths: Iterable[Path]) -> float | None:
    """The earliest time of modification of the files that are there, but for damaged ones; None where there is none.

    ``structgan verify`` dates what is damaged back to ``times.OLDEST``: older than its inputs, it is made again.
    """
    found = (path.stat().st_mtime for path in paths if path.exists())
    return min((when for when in found if when > times.OLDEST), default=None)


def age(paths: Iterable[Path], limit: float | None) -> None:
    """Make files older than ``limit`` that are not; None leaves them as they are."""
    for path in paths:
        if limit is not None and path.exists() and path.stat().st_mtime >= limit:
            os.utime(path, (limit - 1, limit - 1))


def config(run: Path, identity: str) -> None:
    """A finished run's config.json is older than its outputs, any other run's is newer."""
    limit = oldest(outputs(run))
    file = run / "config.json"
    if limit is None:
        return
    if optional(run / "env.json").get("identity") == identity:
        age([file], limit)
    elif file.stat().st_mtime <= limit:
        file.touch()


def follow(plan: Mapping[str, Any]) -> None:
    """Stamp outputs of runs that others depend on: older than those of a run that was trained with them, else newer.

    First what was trained with what is there, the last of a chain first, so that what is stamped older pushes what lies
    before it; then the others, the first of a chain first, older than all that was pushed.

    Args:
        plan: plan.json.
    """
    depth = depths(plan["cells"])
    sound: list[tuple[Path, Path]] = []
    stale: list[tuple[Path, Path]] = []
    for cell in sorted((cell for cell in plan["cells"] if "upstream" in cell), key=lambda cell: depth[cell["run"]]):
        run, above = Path(cell["run"]), Path(cell["upstream"]["run"])
        trained, upstream = environment(run, cell["identity"]), environment(above, cell["upstream"]["identity"])
        if trained and upstream:
            (sound if strayed(trained, upstream) is None else stale).append((run, above))
    for run, above in reversed(sound):
        age(outputs(above), oldest(outputs(run)))
    for run, above in stale:
        age(outputs(run), oldest(outputs(above)))


def settle(plan: Mapping[str, Any], root: Path) -> None:
    """Stamp the data sets, protocols and evaluations of a suite.

    Args:
        plan: its plan.json.
        root: results/runs/<suite>.
    """
    made = {name: header(DATA / f"{name}.safetensors") for name in images(plan)}
    fresh: dict[str, list[Path]] = {kind: [] for kind in plan["evaluation"]}
    stale: dict[str, list[Path]] = {kind: [] for kind in plan["evaluation"]}
    same: dict[str, list[Path]] = {name: [] for name in made}
    other: dict[str, list[Path]] = {name: [] for name in made}
    for cell in plan["cells"]:
        run, content = Path(cell["run"]), made[cell["dataset"]].get("content_hash")
        trained = environment(run, cell["identity"])
        if not trained:
            continue
        of_this = content is not None and trained.get("dataset", {}).get("content_hash") == content
        (same if of_this else other)[cell["dataset"]] += outputs(run)
        for kind in asked(plan, cell):
            found = result(run / FILES[kind][0])
            if found is not None:
                good = fault(found, cell["identity"], plan["evaluation"][kind]) is None
                (fresh if good else stale)[kind] += [run / name for name in FILES[kind]]
                for name, seen in found.get("targets", {}).items():
                    if name in made:
                        (same if seen == made[name].get("content_hash") else other)[name].append(run / FILES[kind][0])
    for name, data in made.items():
        file = root / name / "extractor.safetensors"
        found = header(file)
        if found:
            good = all(found.get(key) == value for key, value in plan["evaluation"]["extractor"].items())
            (fresh if good else stale)["extractor"].append(file)
            (same if found.get("content_hash") == data.get("content_hash") else other)[name].append(file)
    for kind in fresh:
        protocol = root / "protocol" / f"{kind}.json"
        age([protocol], oldest(fresh[kind]))
        age(stale[kind], protocol.stat().st_mtime)
    for name, data in made.items():
        prepare(name, data, same[name], other[name])


def prepare(name: str, data: Mapping[str, str], same: list[Path], other: list[Path]) -> None:
    """Stamp a prepared data set and its settings.

    Args:
        name: of the data set.
        data: metadata of its file, empty where it is missing.
        same: outputs that were made from this content.
        other: outputs that were made from another.
    """
    file, settings = DATA / f"{name}.safetensors", DATA / f"{name}.json"
    if not data:
        return
    age([file], oldest(same))
    age(other, oldest([file]))
    if data.get("identity") == sources.fingerprint(read_json(settings)):
        age([settings], oldest([file]))
    elif settings.stat().st_mtime <= file.stat().st_mtime:
        settings.touch()
