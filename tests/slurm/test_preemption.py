"""Trainings that the cluster interrupts, each in another way, all end as if nobody had touched them."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest
from cluster import NODE, Cluster, call, wait
from trees import Tree

CONFIG = "tests/slurm/preempted.yaml"
RUNS = "results/runs/preempted/digits/slow/simclr/base"
WAYS = ("cancelled", "terminated", "requeued", "out of time", "left alone")
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
    return tree.root / RUNS / f"seed={WAYS.index(way)}"


def targets() -> list[str]:
    return [f"{RUNS}/seed={seed}/encoder.safetensors" for seed in range(len(WAYS))]


class Story:
    """The cluster's jobs of the five runs."""

    def __init__(self, slurm: Cluster, tree: Tree) -> None:
        self.slurm, self.tree = slurm, tree

    def job(self, way: str, state: str = "running") -> str | None:
        """The job that trains a run now."""
        end = f"_{WAYS.index(way)}"
        jobs = self.slurm.jobs(state).items()
        return next((number for number, what in jobs if what.startswith("rule_train") and what.endswith(end)), None)

    def interrupt(self) -> None:
        """Each run in its own way, once it has a state to go on from; then all at once lose their node."""
        for way in WAYS:
            wait(lambda way=way: (run_of(self.tree, way) / "state.safetensors").exists(), 120, f"{way}: state")
        call("scancel", self.need("cancelled"))
        call("scancel", "--signal=TERM", self.need("terminated"))
        call("scontrol", "requeue", self.need("requeued"))
        call("scontrol", "update", f"JobId={self.need('out of time')}", "TimeLimit=1")

    def lose_node(self) -> None:
        call("scontrol", "update", f"NodeName={NODE}", "State=DOWN", "Reason=test")
        wait(lambda: not self.slurm.jobs("running,completing"), 60, "no job runs on a node that is down")
        call("scontrol", "update", f"NodeName={NODE}", "State=RESUME")

    def need(self, way: str) -> str:
        number = self.job(way)
        assert number is not None, (way, self.slurm.jobs("all"))
        return number


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
def story(slurm: Cluster, tree: Tree) -> Story:
    story = Story(slurm, tree)
    intervals = ("--slurm-init-seconds-before-status-checks", "3")
    with tree.start("--profile", "slurm", *intervals, *targets(), config=CONFIG, SLOW="0.15") as process:
        try:
            story.interrupt()
            time.sleep(30)
            story.lose_node()
            process.wait(240)
        finally:
            process.terminate()
    messages = (tree.root / "snakemake.log").read_text()
    assert process.returncode == 0, messages[-6000:]
    return story


@pytest.mark.parametrize("way", WAYS)
def test_a_run_ends_as_if_it_had_not_been_interrupted(story: Story, way: str) -> None:
    run, untouched = run_of(story.tree, way), story.tree.root / "untouched" / way
    assert (run / "encoder.safetensors").read_bytes() == (untouched / "encoder.safetensors").read_bytes()
    records = [json.loads((folder / "history.json").read_text())["records"] for folder in (run, untouched)]
    losses = [[(record["step"], record["losses"]) for record in history] for history in records]
    assert losses[0] == losses[1]
