"""Where each number comes from: its runs, identities, environments, settings, and the commands that make it again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from structgan.files import read_json
from structgan.report import beyond
from structgan.report.cells import DASH
from structgan.report.layouts import GENERATION, PROBES
from structgan.report.markup import shown
from structgan.report.records import SECTIONS, Group, Suite

COLUMNS = (*PROBES, *GENERATION)
SHARED = ("device", "precision", "determinism", "threads", "processes", "versions", "hardware")
BASE_CONFIG = "workflow/config/config.yaml"
"""The Snakefile reads it by itself; the files on top of it are named on the command line."""
PARTS = {"dataset": "Data set", "training": "Training", "method": "Method", "augmentation": "Augmentation"}

Card = tuple[str, tuple[tuple[str, str], ...]]
"""A title, and keys with their values in words."""


@dataclass(frozen=True)
class Source:
    """The runs of one configuration, ready to be shown.

    Attributes:
        anchor: its id on the page.
        title: its configuration in words.
        runs: per seed: seed, folder, identity, states, numbers in words, when and where it was trained, seconds,
            images per second, memory, submissions, environment, commit, and whether the tree differed from it.
        settings: the resolved settings as cards; empty where there is no config.json.
        upstream: id on the page and title of the source whose run of the same seed each run was trained with, if any.
        commit: what every run was trained from, if it is one and no tree differed from it.
        workflow: the line that makes every file of the runs, from the data on.
        verbs: the lines of the first seed's own steps, for a suite that is planned and whose data are prepared.
    """

    anchor: str
    group: Group
    title: str
    done: int
    runs: tuple[Mapping[str, str], ...]
    settings: tuple[Card, ...]
    commit: str
    workflow: str
    verbs: str
    upstream: tuple[str, str] | None
    environments: tuple[str, ...]


def gather(suite: Suite) -> tuple[list[Source], list[tuple[str, dict[str, str]]]]:
    """Sources in the plan's order, and the distinct environments by the letter that the runs name."""
    letters: dict[str, str] = {}
    sources = []
    planned = [entry for entry in suite.ordered if entry in suite.groups]
    anchors = {group: f"source-{number}" for number, group in enumerate(planned)}
    above = _upstream(suite)
    for group in planned:
        rows = suite.groups[group]
        runs = tuple(_run(suite, row, letters) for row in rows)
        config = _optional(Path(str(suite.lists["folder"][rows[0]])) / "config.json")
        commits = {entry["commit"] for entry in runs if entry["state"] != "missing"}
        clean = len(commits) == 1 and not any(entry["dirty"] for entry in runs)
        source = above.get(rows[0])
        before = None if source is None else Group(*(suite.lists[kind][source] for kind in SECTIONS))
        done = sum(1 for entry in runs if entry["state"] not in ("missing", "stale, left out"))
        sources.append(
            Source(
                anchor=anchors[group],
                group=group,
                title=_title(suite, group),
                done=done,
                runs=runs,
                settings=_settings(config.get("settings")),
                commit=next(iter(commits)) if clean else "",
                workflow=_workflow(suite, rows),
                verbs=_verbs(suite, rows[0], above),
                upstream=(anchors[before], _title(suite, before)) if before else None,
                environments=tuple(sorted({entry["environment"] for entry in runs} - {DASH})),
            )
        )
    environments = [(letter, _words(json.loads(text))) for text, letter in letters.items()]
    return sources, environments


def _upstream(suite: Suite) -> dict[int, int]:
    """The row of the run that each run depends on, by the row of that run; runs that depend on none are left out."""
    rows = {run: row for row, run in enumerate(suite.lists["run"])}
    named = {cell["run"]: cell["upstream"]["run"] for cell in suite.plan["cells"] if "upstream" in cell}
    return {rows[run]: rows[above] for run, above in named.items()}


def _title(suite: Suite, group: Group) -> str:
    return ", ".join(suite.title(kind, key) for kind, key in zip(SECTIONS, group, strict=True))


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
    submissions = environment.get("submissions") or [{}]
    tree = environment.get("git") or {}
    gpu = environment.get("peak_gpu_memory_mb")
    found = {
        "seed": str(entry["seed"]),
        "run": str(entry["run"]),
        "identity": str(entry["identity"]),
        "state": state,
        "encoder": str(encoder.get("sha256", "")),
        "environment": letter,
        "commit": str(tree.get("commit") or ""),
        "dirty": "dirty" if tree.get("dirty") else "",
        "started": _when(submissions[0].get("started")),
        "host": ", ".join(dict.fromkeys(str(each["host"]) for each in submissions if each.get("host"))) or DASH,
        "submissions": str(len(submissions)) if environment else DASH,
        "seconds": _plain(environment.get("seconds"), ".0f"),
        "images_per_second": _plain(environment.get("images_per_second"), ".0f"),
        "memory": _plain(environment.get("peak_host_memory_mb") if gpu is None else gpu, ".0f"),
    }
    for column in COLUMNS:
        value = entry[column.key]
        found[column.key] = shown(value, column) if value == value else DASH
    return found


def _workflow(suite: Suite, rows: list[int]) -> str:
    """The Snakemake line whose targets are the numbers of these runs."""
    files = [str(file) for file in suite.plan.get("configfiles", []) if file != BASE_CONFIG]
    results = ["probe.json"] + ["fidelity.json"] * suite.samples(suite.lists["method"][rows[0]])
    results += [f"{kind}.json" for kind in beyond.asked(suite, rows[0])]
    targets = [f"{suite.lists['run'][row]}/{name}" for row in rows for name in results]
    command = ["snakemake", "--profile", "workflow/profiles/local", *(["--configfile", *files] if files else [])]
    return shlex.join([*command, "--", *targets])


def _verbs(suite: Suite, row: int, above: Mapping[int, int]) -> str:
    """One line each for training, probing and, where it samples, measuring the images of one run.

    What has to be trained first comes first.
    """
    dataset, run = suite.lists["dataset"][row], str(suite.lists["run"][row])
    root = f"results/runs/{suite.plan['suite']}"
    given = ["--run", run, "--data", f"data/prepared/{dataset}.safetensors"]
    lines = [["train", *given], ["probe", *given, "--protocol", f"{root}/protocol/probe.json"]]
    first = row
    while first in above:
        first = above[first]
        lines.insert(0, ["train", "--run", str(suite.lists["run"][first]), *given[2:]])
    if suite.samples(suite.lists["method"][row]):
        embedded = suite.plan.get("protocol", {}).get("fidelity", {}).get("extractor") == "embedded"
        extractor = ["--extractor", f"{root}/{dataset}/extractor.safetensors"] if embedded else []
        lines.append(["fidelity", *given, "--protocol", f"{root}/protocol/fidelity.json", *extractor])
    for kind in beyond.asked(suite, row):
        names = suite.plan["transfer"][dataset] if kind == "transfer" else []
        targets = [word for name in names for word in ("--target", f"data/prepared/{name}.safetensors")]
        lines.append([kind, *given, *targets, "--protocol", f"{root}/protocol/{kind}.json"])
    return "\n".join(shlex.join(["python", "-m", "structgan", *line]) for line in lines)


def _settings(settings: Any) -> tuple[Card, ...]:
    """Resolved settings as cards, one for each mapping that holds values: Training, Method: optimiser.generator, …"""
    if not isinstance(settings, Mapping):
        return ()
    return tuple(card for part, values in settings.items() for card in _cards(PARTS.get(part, str(part)), values))


def _cards(title: str, values: Any) -> Iterator[Card]:
    inner = {key: value for key, value in values.items() if isinstance(value, Mapping)}
    own = {key: value for key, value in values.items() if key not in inner}
    if own:
        yield title, tuple((key, _value(value)) for key, value in own.items())
    for key, value in inner.items():
        yield from _cards(f"{title}.{key}" if ": " in title else f"{title}: {key}", value)


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _when(seconds: Any) -> str:
    """A Unix time as date and minute, UTC."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}" if isinstance(seconds, int | float) else DASH


def totals(suite: Suite) -> dict[str, str]:
    """Runs done and planned, seeds, hours of training; runs that are stale, and runs of a tree that no commit holds."""
    environments = [_optional(Path(str(folder)) / "env.json") for folder in suite.frame["folder"]]
    seconds = [environment.get("seconds") for environment in environments]
    spent = sum(value for value in seconds if isinstance(value, int | float))
    dirty = sum(bool((environment.get("git") or {}).get("dirty")) for environment in environments)
    counted = ["finished", "stale"] if suite.include_stale else ["finished"]
    done = int(suite.frame["probe"].isin(counted).sum())
    took = f"{spent / 3600:.1f} h" if spent >= 5400 else f"{spent / 60:.0f} min"
    stale = int(((suite.frame["probe"] == "stale") | (suite.frame["fidelity"] == "stale")).sum())
    return {
        "runs": f"{done} of {len(suite.frame)}",
        "seeds": str(suite.frame["seed"].nunique()),
        "training": took,
        "stale": str(stale) if stale else "",
        "dirty": str(dirty) if dirty else "",
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
            pairs = ((name.replace("_", " "), entry) for name, entry in value.items() if entry not in (None, ""))
            told[key] = ", ".join(f"{name} {_yes_no(entry)}" for name, entry in pairs)
        else:
            told[key] = str(value)
    return {key: words for key, words in told.items() if words}


def _yes_no(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
