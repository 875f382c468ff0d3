"""The runs behind each row: their state, environments and settings, and the command that makes them again."""

import shlex
from collections.abc import Mapping
from typing import Any

from structgan import provenance
from structgan.errors import UserError
from structgan.report.metrics import DASH, MAIN, flat, number, shown, text
from structgan.report.results import Group, Run, Suite, group_of

SHARED = ("device", "precision", "determinism", "threads", "processes", "versions", "hardware")
BASE_CONFIG = "workflow/config/config.yaml"
"""The Snakefile reads it by itself; the files on top of it are named on the command line."""


def gather(suite: Suite) -> tuple[dict[Group, dict[str, Any]], list[dict[str, str]]]:
    """What the page says of each configuration's runs, and the distinct environments in words.

    ``commit`` is that of all runs, if it is one and no working tree differed from it; ``upstream`` the configuration
    whose runs they start from; ``workflow`` the command that makes every file from the data on.
    """
    environments, found = list[dict[str, Any]](), {}
    by_path = {run["run"]: run for run in suite.runs}
    for at, (group, runs) in enumerate(suite.groups.items()):
        rows = [_row(suite, run, environments) for run in runs]
        commits = {(env.get("commit"), env.get("dirty")) for env in (row["git"] for row in rows if row["env"])}
        settings = _settings(suite, runs[0])
        found[group] = {
            "anchor": f"source-{at}",
            "title": ", ".join(suite.title(*pair) for pair in group._asdict().items()),
            "runs": rows,
            "done": sum(row["state"] == "finished" for row in rows),
            "commit": next((commit for commit, dirty in commits if len(commits) == 1 and not dirty), None),
            "upstream": group_of(by_path[runs[0]["upstream"]["run"]]) if "upstream" in runs[0] else None,
            "workflow": _workflow(suite, runs),
            "settings": {part: {key: text(value) for key, value in flat(block)} for part, block in settings.items()},
        }
    return found, [{key: _words(value) for key, value in one.items()} for one in environments]


def _settings(suite: Suite, run: Run) -> dict[str, Any]:
    """The settings of a run's config.json; empty where it is missing or damaged."""
    try:
        return dict(provenance.read_config(suite.root / run["run"])["settings"])
    except UserError:
        return {}


def _row(suite: Suite, run: Run, environments: list[dict[str, Any]]) -> dict[str, Any]:
    """A run, its env.json, its environment's number, and its metrics in words."""
    env, group = suite.records.get((run["run"], "training"), {}), group_of(run)
    shared = {key: env[key] for key in SHARED if key in env}
    if env and shared not in environments:
        environments.append(shared)
    values = {metric: suite.values(group, metric).get(run["seed"], number(None)) for metric in map(suite.metric, MAIN)}
    return {
        "run": run,
        "env": env,
        "git": env.get("git") or {},
        "submissions": env.get("submissions") or [],
        "environment": environments.index(shared) + 1 if env else None,
        "state": "missing" if suite.missing(run) else "finished",
        "encoder": str(suite.records.get((run["run"], "probe"), {}).get("encoder", {}).get("sha256", "")),
        "metrics": {metric.name: DASH if value != value else shown(value, metric) for metric, value in values.items()},
    }


def _workflow(suite: Suite, runs: list[Run]) -> str:
    """The Snakemake command whose targets are the results of these runs."""
    files = [str(file) for file in suite.plan.get("configfiles", []) if file != BASE_CONFIG]
    targets = [f"{run['run']}/{file}" for run in runs for file in run["evaluations"].values()]
    command = ["snakemake", "--profile", "workflow/profiles/local", *(["--configfile", *files] if files else [])]
    return shlex.join([*command, "--", *targets])


def _words(value: Any) -> str:
    """A part of an environment: ``torch 2.12.1, numpy 2.4``."""
    if not isinstance(value, Mapping):
        return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
    given = {name: part for name, part in value.items() if part not in (None, "")}
    return ", ".join(f"{name.replace('_', ' ')} {_words(part)}" for name, part in given.items())


def totals(suite: Suite) -> dict[str, Any]:
    """Runs done and planned, seeds, seconds of training, and runs of a tree that no commit holds."""
    trained = [record for (_, name), record in suite.records.items() if name == "training"]
    done = sum(not suite.missing(run) for run in suite.runs)
    return {
        "runs": f"{done} of {len(suite.runs)}",
        "seeds": len({run["seed"] for run in suite.runs}),
        "seconds": sum(record.get("seconds") or 0.0 for record in trained),
        "dirty": sum(bool((record.get("git") or {}).get("dirty")) for record in trained),
    }
