"""Trainings that the cluster interrupts, each in another way, all end as if nobody had touched them."""

import json
from pathlib import Path
from typing import Any

import pytest
from cluster import Cluster, call, wait
from slow import add_slow, same_end, train_untouched
from trees import Tree, end, small

CONFIG = "tests/slurm/preempted.yaml"
RUNS = "results/runs/digits_gradient/slow/none/base"
WAYS = {
    "cancelled": ("scancel", "JOB"),
    "terminated": ("scancel", "--signal=TERM", "JOB"),
    "requeued": ("scontrol", "requeue", "JOB"),
    "out of time": (
        "scontrol",
        "update",
        "JobId=JOB",
        "TimeLimit=2",
    ),  # within the 120 s of the warning, also on a slow machine
}


def run_of(tree: Tree, way: str) -> Path:
    (folder,) = (tree.root / RUNS / f"seed={list(WAYS).index(way)}").iterdir()
    return folder


def progress(tree: Tree, way: str) -> dict[str, Any]:
    """What the training process last said of itself."""
    path = run_of(tree, way) / "progress.json"
    return json.loads(path.read_text()) if path.exists() else {"state": None, "step": 0}


def job_of(slurm: Cluster, tree: Tree, way: str) -> str:
    """The job that trains a run now."""
    end = f"_{run_of(tree, way).name}"
    found = [number for number, what in slurm.jobs("running").items() if what.endswith(end)]
    assert len(found) == 1, (way, slurm.jobs("all"))
    return found[0]


def lose_node(slurm: Cluster, tree: Tree) -> None:
    """Let the node die under all trainings at once, and come back."""
    wait(lambda: all((run_of(tree, way) / "state.safetensors").exists() for way in WAYS), 600, "all train")
    slurm.crash_node()
    wait(lambda: not slurm.jobs("running,completing"), 300, "no job runs on a node that is down")
    slurm.start_node()


def interrupt(slurm: Cluster, tree: Tree) -> dict[str, dict[str, Any]]:
    """End each run in its own way in the middle of its training.

    Returns:
        What each training process said when it had ended.
    """
    before = {way: progress(tree, way) for way in WAYS}
    wait(lambda: all(progress(tree, way)["step"] >= before[way]["step"] + 3 for way in WAYS), 600, "all train again")
    for way, command in WAYS.items():
        call(*(word.replace("JOB", job_of(slurm, tree, way)) for word in command))
    said: dict[str, dict[str, Any]] = {}

    def all_stopped() -> bool:
        now = {way: progress(tree, way) for way in WAYS}
        said.update((way, words) for way, words in now.items() if words["state"] == "stopped")
        return len(said) == len(WAYS)

    wait(all_stopped, 300, f"saved and stopped: {', '.join(WAYS)}")
    return said


@pytest.fixture(scope="module")
def tree(scratch: Tree) -> Tree:
    """A copy with the slow method and the prepared data set."""
    return add_slow(scratch, CONFIG)


@pytest.fixture(scope="module")
def said(slurm: Cluster, tree: Tree) -> dict[str, dict[str, Any]]:
    """The whole story: trainings start, lose their node, are interrupted, and end; what they said when interrupted."""
    intervals = ("--slurm-init-seconds-before-status-checks", "3")
    targets = [str(run_of(tree, way).relative_to(tree.root) / "encoder.safetensors") for way in WAYS]
    with tree.start(
        "--profile", "slurm", *small(500, 10, 0), *intervals, *targets, config=CONFIG, SLOW="0.5"
    ) as process:
        try:
            lose_node(slurm, tree)
            said = interrupt(slurm, tree)
            process.wait(600)
        finally:
            end(process)
    assert process.returncode == 0, tree.messages()[-6000:]
    return said


@pytest.fixture(scope="module")
def untouched(said: dict[str, dict[str, Any]], tree: Tree) -> Path:
    """The same runs, trained without an interruption."""
    return train_untouched(tree, {way: run_of(tree, way) for way in WAYS})


def test_a_signal_of_the_cluster_saves_where_the_training_stood(said: dict[str, dict[str, Any]]) -> None:
    for way, words in said.items():
        name = "SIGUSR1" if way == "out of time" else "SIGTERM"
        assert words["reason"] == f"{name}: saved at step {words['step']} of {words['steps']}"


@pytest.mark.parametrize("way", WAYS)
def test_a_run_ends_as_if_it_had_not_been_interrupted(tree: Tree, untouched: Path, way: str) -> None:
    same_end(run_of(tree, way), untouched / way)


def test_retries_submit_again_and_a_requeue_keeps_its_job(slurm: Cluster, said: dict[str, dict[str, Any]]) -> None:
    restarts: dict[str, list[int]] = {way: [] for way in WAYS}
    for number, what in sorted(slurm.jobs("all").items(), key=lambda item: int(item[0])):
        if what.startswith("rule_train_wildcards_digits_gradient_slow"):
            restarts[list(WAYS)[int(what.split("_")[-2])]].append(int(slurm.job(number)["Restarts"]))
    assert restarts == {"cancelled": [1, 0], "terminated": [1, 0], "requeued": [2], "out of time": [1, 0]}
