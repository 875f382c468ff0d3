"""Trainings that the cluster interrupts, each in another way, all end as if nobody had touched them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from cluster import NODE, Cluster, call, wait
from trees import Tree, end

CONFIG = "tests/slurm/preempted.yaml"
RUNS = "results/runs/preempted/digits/slow/none/base"
WAYS = {
    "cancelled": ("scancel", "JOB"),
    "terminated": ("scancel", "--signal=TERM", "JOB"),
    "requeued": ("scontrol", "requeue", "JOB"),
    "out of time": ("scontrol", "update", "JobId=JOB", "TimeLimit=1"),
    "left alone": (),
}
SLOW = '''
"""SimCLR that takes its time, as much as the environment says; the numbers are the same."""

import os
import time

from baselines.simclr import SimCLR


class Slow(SimCLR):
    """Waits in each step."""

    def step(self, views, labels):
        time.sleep(float(os.environ.get("SLOW", "0")))
        return super().step(views, labels)
'''


def run_of(tree: Tree, way: str) -> Path:
    return tree.root / RUNS / f"seed={list(WAYS).index(way)}"


def targets() -> list[str]:
    return [f"{RUNS}/seed={seed}/encoder.safetensors" for seed in range(len(WAYS))]


def progress(tree: Tree, way: str) -> dict[str, Any]:
    """What the training process last said of itself."""
    path = run_of(tree, way) / "progress.json"
    return json.loads(path.read_text()) if path.exists() else {"state": None, "step": 0}


def job_of(slurm: Cluster, way: str) -> str:
    """The job that trains a run now."""
    end = f"_{list(WAYS).index(way)}"
    found = [number for number, what in slurm.jobs("running").items() if what.endswith(end)]
    assert len(found) == 1, (way, slurm.jobs("all"))
    return found[0]


def interrupt(slurm: Cluster, tree: Tree) -> dict[str, dict[str, Any]]:
    """End each run in its own way in the middle of its training; then take the node away from all at once.

    Returns:
        What each training process said when it had ended.
    """
    said = {}
    for way, command in WAYS.items():
        wait(lambda way=way: progress(tree, way)["step"] >= 3, 120, f"{way}: trains")
        if command:
            call(*(word.replace("JOB", job_of(slurm, way)) for word in command))
    for way in WAYS:
        if WAYS[way]:
            wait(lambda way=way: progress(tree, way)["state"] == "stopped", 90, f"{way}: saved and stopped")
            said[way] = progress(tree, way)
            print(way, said[way])
    wait(lambda: len(slurm.jobs("running")) == len(WAYS), 120, "all train again")
    call("scontrol", "update", f"NodeName={NODE}", "State=DOWN", "Reason=test")
    wait(lambda: not slurm.jobs("running,completing"), 60, "no job runs on a node that is down")
    call("scontrol", "update", f"NodeName={NODE}", "State=RESUME")
    return said


@pytest.fixture(scope="module")
def tree(scratch: Tree) -> Tree:
    """A copy with the slow method, and with the encoders of runs that nobody interrupted under ``untouched``."""
    (scratch.root / "baselines/slow.py").write_text(SLOW)
    scratch.run("--profile", "workflow/profiles/local", "--cores", "2", *targets(), config=CONFIG)
    for way in WAYS:
        shutil.copytree(run_of(scratch, way), scratch.root / "untouched" / way)
    shutil.rmtree(scratch.root / "results")
    return scratch


@pytest.fixture(scope="module")
def said(slurm: Cluster, tree: Tree) -> dict[str, dict[str, Any]]:
    """The whole story: five trainings start, are interrupted, and end; what they said when they were interrupted."""
    intervals = ("--slurm-init-seconds-before-status-checks", "3")
    with tree.start("--profile", "slurm", *intervals, *targets(), config=CONFIG, SLOW="0.5") as process:
        try:
            said = interrupt(slurm, tree)
            process.wait(240)
        finally:
            end(process)
    assert process.returncode == 0, tree.messages()[-6000:]
    return said


@pytest.mark.parametrize("way", WAYS)
def test_a_run_ends_as_if_it_had_not_been_interrupted(said: dict[str, dict[str, Any]], tree: Tree, way: str) -> None:
    run, untouched = run_of(tree, way), tree.root / "untouched" / way
    assert (run / "encoder.safetensors").read_bytes() == (untouched / "encoder.safetensors").read_bytes()
    records = [json.loads((folder / "history.json").read_text())["records"] for folder in (run, untouched)]
    losses = [[(record["step"], record["losses"]) for record in history] for history in records]
    assert losses[0] == losses[1]
