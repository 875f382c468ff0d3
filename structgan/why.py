"""Why runs and evaluations are planned anew: what differs from the nearest one that is finished. Imports no torch."""

import json
import textwrap
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from structgan import provenance
from structgan.errors import UserError
from structgan.report.metrics import flat
from structgan.states import State
from structgan.status import WIDTH

BLOCKS = {
    "training": "training", "dataset": "datasets.{dataset}", "method": "methods.{method}.settings",
    "augmentation": "augmentations.{augmentation}",
}  # fmt: skip
"""Where the configuration has the settings of a run's config.json."""
WORDS = {"content": "the pictures", "sources": "the code"}
"""What changed where a digest did."""
MOST = 6
"""Differences of a run, and rows of a reason, that are shown."""


def lines(runs: list[State], tree: Path) -> list[str]:
    """Each reason for which runs are planned, and their rows and seeds; ``tree`` is the root of the results."""
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        for reason in reasons(run, tree):
            found[reason]["/".join(run.row)].append(str(run.entry["seed"]))
    told = []
    for reason, rows in found.items():
        named = [f"{row} seed{'s' * (len(seeds) > 1)} {', '.join(seeds)}" for row, seeds in rows.items()]
        words = f"{reason}: {few(named, '; ')}"
        told += textwrap.wrap(words, WIDTH, subsequent_indent="    ", break_on_hyphens=False, break_long_words=False)
    return told


def reasons(run: State, tree: Path) -> Iterator[str]:
    """Why a run has to be trained, or to be evaluated."""
    folder, protocols = tree / run.entry["run"], tree / provenance.PROTOCOLS
    if not (folder / "env.json").exists():
        yield from untrained(folder, tree)
        return
    for name, file in run.entry["evaluations"].items():
        if not (folder / file).exists():
            own = read(protocols / file)
            others = [read(protocols / path.name) for path in folder.glob(f"{name}-*.json")]
            found = [list(changes(old, own, "evaluation")) for old in others if old and own]
            yield f"{name}: {shown(found) if found else 'not measured yet'}"


def untrained(folder: Path, tree: Path) -> Iterator[str]:
    """What differs from the nearest finished run of the row, or else of the row's other variants."""
    own, found = read(folder / "config.json"), defaultdict(list)
    for path in folder.parents[2].glob("*/*/*/env.json"):
        if own and (old := read(path.with_name("config.json"))):
            found[path.parents[2].name].append(list(differences(old, own, tree)))
    variant = folder.parents[1].name
    if variant in found:
        yield shown(found[variant])
    elif found:
        nearest = min(found, key=lambda name: min(map(len, found[name])))
        words = shown(found[nearest]) if all(found[nearest]) else "its name alone"
        yield f"no run of variant {variant} is finished; from {nearest} it differs by {words}"
    else:
        yield "no run of this row is finished"


def read(path: Path) -> dict[str, Any]:
    """A config.json, a protocol or a data set's settings; empty where it is missing or damaged."""
    try:
        return provenance.read_identified(path)
    except UserError:
        return {}


def differences(old: Mapping[str, Any], new: Mapping[str, Any], tree: Path) -> Iterator[str]:
    """What differs between two runs' config.json, those of the data sets and of the upstream runs included."""
    for key, place in BLOCKS.items():
        yield from changes(old["settings"][key], new["settings"][key], place.format(**new))
    if old["data"] != new["data"]:
        before, now = (read(tree / provenance.data_path(each["dataset"], each["data"]).replace(".safetensors", ".json"))
                       for each in (old, new))  # fmt: skip
        yield from changes(before, now, BLOCKS["dataset"].format(**new))
    if old["sources"] != new["sources"]:
        yield f"{WORDS['sources']} of training or method"
    if old["seed"] != new["seed"]:
        yield "a new seed"
    if "upstream" in old and "upstream" in new:
        above = [read(tree / each["upstream"]["run"] / "config.json") for each in (old, new)]
        yield from differences(above[0], above[1], tree) if all(above) else ["the upstream run"]


def changes(old: Mapping[str, Any], new: Mapping[str, Any], place: str) -> Iterator[str]:
    """The keys below a place whose values differ: ``training.steps 195 → 400``."""
    before, now = dict(flat(old)), dict(flat(new))
    for key in {**before, **now}.keys() - {"identity", "name"}:
        if before.get(key) != now.get(key):
            values = (json.dumps(side[key], ensure_ascii=False) if key in side else "nothing" for side in (before, now))
            yield (
                f"{WORDS[key]} of {place}"
                if key in WORDS
                else f"{place}.{key.removeprefix('settings.')} {' → '.join(values)}"
            )


def shown(found: list[list[str]]) -> str:
    """The fewest differences in words."""
    nearest = min(found, key=len)
    return few(sorted({*nearest})) or "nothing that its files tell"


def few(words: list[str], between: str = ", ") -> str:
    """The first of the words, and how many more there are."""
    return between.join(words[:MOST] + [f"and {len(words) - MOST} more"] * (len(words) > MOST))
