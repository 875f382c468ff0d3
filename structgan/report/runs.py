"""The runs behind each row: their state, environments and settings, and the commands that make them again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

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


class Source(NamedTuple):
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
    title: str
    done: int
    runs: list[dict[str, str]]
    commit: str
    workflow: str
    verbs: str
    upstream: tuple[str, str] | None
    settings: list[Card]


def gather(suite: Suite) -> tuple[dict[Group, Source], list[Card]]:
    """Sources by configuration, and the distinct environments by the letter that the runs name."""
    letters: dict[str, str] = {}
    anchors = {group: f"source-{at}" for at, group in enumerate(suite.groups)}
    titles = {group: ", ".join(suite.title(*pair) for pair in group._asdict().items()) for group in suite.groups}
    by_path, found = {run["run"]: run for run in suite.runs}, {}
    for group, runs in suite.groups.items():
        rows = [_row(suite, run, letters) for run in runs]
        commits = {(row["commit"], row["dirty"]) for row in rows if row["environment"] != DASH}
        above = group_of(by_path[runs[0]["upstream"]["run"]]) if "upstream" in runs[0] else None
        config = suite.root / runs[0]["run"] / "config.json"
        settings = read_json(config)["settings"] if config.exists() else {}
        found[group] = Source(
            anchors[group], titles[group], sum(row["state"] == "finished" for row in rows), rows,
            next((commit for commit, dirty in commits if len(commits) == 1 and not dirty), ""),
            _workflow(suite, runs), _verbs(suite, runs[0], by_path), (anchors[above], titles[above]) if above else None,
            [card for part, values in settings.items() for card in _cards(PARTS.get(part, str(part)), values)],
        )  # fmt: skip
    return found, [(letter, _environment(json.loads(text))) for text, letter in letters.items()]


def _row(suite: Suite, run: Run, letters: dict[str, str]) -> dict[str, str]:
    env, group = suite.records.get((run["run"], "training"), {}), group_of(run)
    text = json.dumps({key: env[key] for key in SHARED if key in env}, sort_keys=True)
    submissions, git = env.get("submissions") or [{}], env.get("git") or {}
    begun, gpu = submissions[0].get("started"), env.get("peak_gpu_memory_mb")
    amounts = {key: env.get(key) for key in ("seconds", "images_per_second")}
    amounts["memory"] = env.get("peak_host_memory_mb") if gpu is None else gpu
    values = {m: suite.values(group, m).get(run["seed"], number(None)) for m in map(suite.metric, SHOWN)}
    return {
        **{key: str(run[key]) for key in ("seed", "run", "identity")},
        **{metric.name: shown(value, metric) if value == value else DASH for metric, value in values.items()},
        **{key: DASH if value is None else f"{value:.0f}" for key, value in amounts.items()},
        "state": "finished" if env and not suite.missing(run) else "missing",
        "encoder": str(suite.records.get((run["run"], "probe"), {}).get("encoder", {}).get("sha256", "")),
        "environment": letters.setdefault(text, _letter(len(letters))) if env else DASH,
        "commit": str(git.get("commit") or ""),
        "dirty": "dirty" if git.get("dirty") else "",
        "started": f"{datetime.fromtimestamp(begun, UTC):%Y-%m-%d %H:%M}" if begun else DASH,
        "host": ", ".join(dict.fromkeys(str(each["host"]) for each in submissions if each.get("host"))) or DASH,
        "submissions": str(len(submissions)) if env else DASH,
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
    protocols = [provenance.protocol_path(suite.plan["evaluations"][name]) for name in run["evaluations"]]
    lines += [["evaluate", "--run", run["run"], "--protocol", protocol] for protocol in protocols]
    return "\n".join(shlex.join(["python", "-m", "structgan", *line]) for line in lines)


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


def _environment(environment: Mapping[str, Any]) -> dict[str, str]:
    """An environment's parts in words."""
    found = {}
    for key, value in environment.items():
        parts = value if isinstance(value, Mapping) else {"": value}
        given = {name: part for name, part in parts.items() if part not in (None, "")}
        words = {name: ("no", "yes")[part] if isinstance(part, bool) else part for name, part in given.items()}
        found[key] = ", ".join(f"{name.replace('_', ' ')} {value}".strip() for name, value in words.items())
    return {key: words for key, words in found.items() if words}
