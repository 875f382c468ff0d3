"""Where each number comes from: its runs, seeds, identities, environments, settings, and the command that trains it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from structgan.files import read_json
from structgan.report.cells import DASH
from structgan.report.layouts import GENERATION, PROBES
from structgan.report.markup import shown
from structgan.report.records import SECTIONS, Group, Suite

COLUMNS = (*PROBES, *GENERATION)
SHARED = ("device", "precision", "threads", "versions", "hardware", "git")


@dataclass(frozen=True)
class Source:
    """The runs of one configuration, ready to be shown.

    Attributes:
        anchor: its id on the page.
        title: its configuration in words.
        runs: per seed: seed, folder, identity, states, numbers in words, seconds, images per second,
            memory, environment.
        settings: the resolved settings as indented JSON; empty where there is no config.json.
        command: the line that trains it again.
    """

    anchor: str
    group: Group
    title: str
    done: int
    runs: tuple[Mapping[str, str], ...]
    settings: str
    command: str


def gather(suite: Suite) -> tuple[list[Source], list[tuple[str, dict[str, str]]]]:
    """Sources in the plan's order, and the distinct environments by the letter that the runs name."""
    letters: dict[str, str] = {}
    sources = []
    for number, group in enumerate(entry for entry in suite.ordered if entry in suite.groups):
        rows = suite.groups[group]
        runs = tuple(_run(suite, row, letters) for row in rows)
        first = {key: suite.lists[key][rows[0]] for key in ("folder", "run")}
        config = _optional(Path(str(first["folder"])) / "config.json")
        settings = json.dumps(config["settings"], indent=2, ensure_ascii=False) if config.get("settings") else ""
        data = f"data/prepared/{group.dataset}.safetensors"
        command = f"python -m structgan train --run {shlex.quote(str(first['run']))} --data {shlex.quote(data)}"
        words = ", ".join(suite.title(kind, key) for kind, key in zip(SECTIONS, group, strict=True))
        done = sum(1 for entry in runs if entry["state"] not in ("missing", "stale, left out"))
        sources.append(Source(f"source-{number}", group, words, done, runs, settings, command))
    environments = [(letter, _words(json.loads(text))) for text, letter in letters.items()]
    return sources, environments


def _run(suite: Suite, row: int, letters: dict[str, str]) -> dict[str, str]:
    entry = {key: values[row] for key, values in suite.lists.items()}
    environment = _optional(Path(str(entry["folder"])) / "env.json")
    shared = {key: environment[key] for key in SHARED if key in environment}
    letter = DASH
    if shared:
        text = json.dumps(shared, sort_keys=True)
        letter = letters.setdefault(text, _letter(len(letters)))
    encoder = suite.probes.get(row, {}).get("encoder", {})
    state = str(entry["probe"])
    if "stale" in (entry["probe"], entry["fidelity"]):
        state = "stale, counted" if suite.include_stale else "stale, left out"
    found = {
        "seed": str(entry["seed"]),
        "run": str(entry["run"]),
        "identity": str(entry["identity"]),
        "state": state,
        "encoder": str(encoder.get("sha256", "")),
        "environment": letter,
        "seconds": _plain(environment.get("seconds"), ".0f"),
        "images_per_second": _plain(environment.get("images_per_second"), ".0f"),
        "memory": _plain(environment.get("peak_memory_mb"), ".0f"),
    }
    for column in COLUMNS:
        value = entry[column.key]
        found[column.key] = shown(value, column) if value == value else DASH
    return found


def totals(suite: Suite) -> dict[str, str]:
    """Runs done and planned, seeds, and hours of training on record."""
    seconds = [_optional(Path(str(folder)) / "env.json").get("seconds") for folder in suite.frame["folder"]]
    spent = sum(value for value in seconds if isinstance(value, int | float))
    counted = ["finished", "stale"] if suite.include_stale else ["finished"]
    done = int(suite.frame["probe"].isin(counted).sum())
    took = f"{spent / 3600:.1f} h" if spent >= 5400 else f"{spent / 60:.0f} min"
    stale = int(((suite.frame["probe"] == "stale") | (suite.frame["fidelity"] == "stale")).sum())
    return {
        "runs": f"{done} of {len(suite.frame)}",
        "seeds": str(suite.frame["seed"].nunique()),
        "training": took,
        "stale": str(stale) if stale else "",
    }


def _letter(index: int) -> str:
    """A, B, …, Z, AA, AB, …"""
    return (_letter(index // 26 - 1) if index >= 26 else "") + chr(ord("A") + index % 26)


def _optional(path: Path) -> dict[str, Any]:
    found = read_json(path) if path.exists() else {}
    return found if isinstance(found, dict) else {}


def _plain(value: Any, form: str) -> str:
    return format(value, form) if isinstance(value, int | float) else DASH


def _words(environment: Mapping[str, Any]) -> dict[str, str]:
    told = {}
    for key, value in environment.items():
        if isinstance(value, Mapping):
            told[key] = ", ".join(f"{name} {entry}" for name, entry in value.items() if entry not in (None, "", False))
        else:
            told[key] = str(value)
    return told
