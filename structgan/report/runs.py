"""The runs behind each row: their state, environments and settings, and the commands that make them again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from structgan import provenance
from structgan.files import read_json
from structgan.report.metrics import DASH, number, shown
from structgan.report.suite import Group, Run, Suite, group_of

SHOWN = ("linear", "svm", "kmeans", "knn", "fid", "is")
SHARED = ("device", "precision", "determinism", "threads", "processes", "versions", "hardware")
BASE_CONFIG = "workflow/config/config.yaml"
"""The Snakefile reads it by itself; the files on top of it are named on the command line."""
PARTS = {"dataset": "Data set", "training": "Training", "method": "Method", "augmentation": "Augmentation"}

Card = tuple[str, dict[str, str]]
"""A title, and keys with their values in words."""


@dataclass(frozen=True)
class Source:
    """The runs of one configuration, ready to be shown.

    Attributes:
        anchor: its id on the page; title: its configuration in words; done: how many runs are finished.
        runs: per seed its numbers, and when, where and with what it was trained, in words.
        commit: what every run was trained from, if it is one commit and no working tree differed from it.
        workflow: the command that makes every file of the runs, from the data on.
        verbs: the commands of the first seed's steps, for a suite that is planned and whose data are prepared.
        upstream: anchor and title of the source whose run of the same seed each run was trained with, if any.
        settings: the resolved settings.
    """

    anchor: str
    group: Group
    title: str
    done: int
    runs: list[dict[str, str]]
    commit: str
    workflow: str
    verbs: str
    upstream: tuple[str, str] | None
    settings: list[Card]


def gather(suite: Suite) -> tuple[list[Source], list[Card]]:
    """Sources in the plan's order, and the distinct environments by the letter that the runs name."""
    letters: dict[str, str] = {}
    anchors = {
        group: f"source-{at}" for at, group in enumerate(group for group in suite.ordered if group in suite.groups)
    }
    by_path, found = {run["run"]: run for run in suite.runs}, []
    for group, anchor in anchors.items():
        runs = suite.groups[group]
        rows = [_row(suite, run, letters) for run in runs]
        commits = {(row["commit"], row["dirty"]) for row in rows if row["environment"] != DASH}
        commit, dirty = next(iter(commits)) if len(commits) == 1 else ("", "")
        above = runs[0].get("upstream")
        before = group_of(by_path[above["run"]]) if above else None
        config = suite.root / runs[0]["run"] / "config.json"
        settings = read_json(config)["settings"] if config.exists() else {}
        upstream = (anchors[before], _title(suite, before)) if before else None
        cards = [card for part, values in settings.items() for card in _cards(PARTS.get(part, str(part)), values)]
        done = sum(row["state"] == "finished" for row in rows)
        lines = (_workflow(suite, runs), _verbs(suite, runs[0], by_path))
        title, clean = _title(suite, group), "" if dirty else commit
        found.append(Source(anchor, group, title, done, rows, clean, *lines, upstream, cards))
    return found, [(letter, _environment(json.loads(text))) for text, letter in letters.items()]


def _title(suite: Suite, group: Group) -> str:
    return ", ".join(suite.title(kind, key) for kind, key in group._asdict().items())


def _row(suite: Suite, run: Run, letters: dict[str, str]) -> dict[str, str]:
    env = suite.records.get((run["run"], "training"), {})
    text = json.dumps({key: env[key] for key in SHARED if key in env}, sort_keys=True)
    letter = letters.setdefault(text, _letter(len(letters))) if env else DASH
    submissions, git = env.get("submissions") or [{}], env.get("git") or {}
    gpu = env.get("peak_gpu_memory_mb")
    begun = submissions[0].get("started")
    metrics = [suite.metric(name) for name in SHOWN]
    values = {m.name: suite.values(group_of(run), m).get(run["seed"], number(None)) for m in metrics}
    return {
        "seed": str(run["seed"]),
        "run": str(run["run"]),
        "identity": str(run["identity"]),
        "state": "finished" if env and not suite.missing(run) else "missing",
        "encoder": str(suite.records.get((run["run"], "probe"), {}).get("encoder", {}).get("sha256", "")),
        "environment": letter,
        "commit": str(git.get("commit") or ""),
        "dirty": "dirty" if git.get("dirty") else "",
        "started": f"{datetime.fromtimestamp(begun, UTC):%Y-%m-%d %H:%M}" if begun else DASH,
        "host": ", ".join(dict.fromkeys(str(each["host"]) for each in submissions if each.get("host"))) or DASH,
        "submissions": str(len(submissions)) if env else DASH,
        "seconds": _plain(env.get("seconds")),
        "images_per_second": _plain(env.get("images_per_second")),
        "memory": _plain(env.get("peak_host_memory_mb") if gpu is None else gpu),
        **{m.name: shown(values[m.name], m) if values[m.name] == values[m.name] else DASH for m in metrics},
    }


def _workflow(suite: Suite, runs: list[Run]) -> str:
    """The Snakemake command whose targets are the results of these runs."""
    files = [str(file) for file in suite.plan.get("configfiles", []) if file != BASE_CONFIG]
    targets = [f"{run['run']}/{file}" for run in runs for file in run["evaluations"].values()]
    command = ["snakemake", "--profile", "workflow/profiles/local", *(["--configfile", *files] if files else [])]
    return shlex.join([*command, "--", *targets])


def _verbs(suite: Suite, run: Run, by_path: Mapping[str, Run]) -> str:
    """A command for each training, upstream runs first, and for each evaluation of one run."""
    chain = [run]
    while above := chain[0].get("upstream"):
        chain.insert(0, by_path[above["run"]])
    lines = [["train", "--run", each["run"], "--data", str(each.get("data"))] for each in chain]
    for name in run["evaluations"]:
        protocol = provenance.protocol_path(suite.plan["evaluations"][name])
        lines.append(["evaluate", "--run", run["run"], "--protocol", protocol])
    return "\n".join(shlex.join(["structgan", *line]) for line in lines)


def _cards(title: str, values: Any) -> Iterator[Card]:
    """Settings as cards, one for each mapping that holds values: Training, Method: optimizer.generator, …"""
    inner = {key: value for key, value in values.items() if isinstance(value, Mapping)}
    own = {key: value for key, value in values.items() if key not in inner}
    if own:
        yield title, {k: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for k, v in own.items()}
    for key, value in inner.items():
        yield from _cards(f"{title}.{key}" if ": " in title else f"{title}: {key}", value)


def totals(suite: Suite) -> dict[str, str]:
    """Runs done and planned, seeds, time of training, and runs of a tree that no commit holds."""
    trained = [record for (_, name), record in suite.records.items() if name == "training"]
    spent = sum(record.get("seconds") or 0.0 for record in trained)
    dirty = sum(bool((record.get("git") or {}).get("dirty")) for record in trained)
    done = sum((run["run"], "training") in suite.records and not suite.missing(run) for run in suite.runs)
    return {
        "runs": f"{done} of {len(suite.runs)}",
        "seeds": str(len({run["seed"] for run in suite.runs})),
        "training": f"{spent / 3600:.1f} h" if spent >= 5400 else f"{spent / 60:.0f} min",
        "dirty": str(dirty) if dirty else "",
    }


def _letter(index: int) -> str:
    """A, B, …, Z, AA, AB, …"""
    return (_letter(index // 26 - 1) if index >= 26 else "") + chr(ord("A") + index % 26)


def _plain(value: Any) -> str:
    return format(value, ".0f") if isinstance(value, int | float) else DASH


def _environment(environment: Mapping[str, Any]) -> dict[str, str]:
    """An environment's parts in words."""
    found = {}
    for key, value in environment.items():
        pairs = value.items() if isinstance(value, Mapping) else [("", value)]
        words = (
            (name.replace("_", " "), {True: "yes", False: "no"}[v] if isinstance(v, bool) else v) for name, v in pairs
        )
        found[key] = ", ".join(f"{name} {value}".strip() for name, value in words if value not in (None, ""))
    return {key: words for key, words in found.items() if words}
