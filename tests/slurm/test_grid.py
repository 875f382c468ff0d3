"""`snakemake --profile slurm` runs the demo's grid, tiny, to the end."""

import json
from typing import Any

import pytest
from cluster import Cluster
from trees import Tree, small

CONFIG = "tests/slurm/grid.yaml"
ON_GPU = ("train", "extractor", "evaluate")


@pytest.fixture(scope="module")
def done(slurm: Cluster, scratch: Tree) -> None:
    options = small(1500, 10, 1)
    scratch.run("--profile", "slurm", "--slurm-init-seconds-before-status-checks", "5", *options, config=CONFIG)


def runs_of(tree: Tree) -> list[dict[str, Any]]:
    """What the suite's plan says of its runs."""
    runs: list[dict[str, Any]] = tree.plan("slurm")["runs"]
    return runs


def test_every_table_figure_and_the_page_are_there(scratch: Tree, done: None) -> None:
    for name in ("representation", "generation", "augmentation"):
        assert (scratch.root / f"results/tables/slurm/{name}.csv").stat().st_size > 0
    assert (scratch.root / "results/figures/slurm/augmentation.png").stat().st_size > 0
    assert (scratch.root / "results/report/slurm.html").stat().st_size > 0
    for entry in runs_of(scratch):
        assert json.loads((scratch.root / entry["run"] / "env.json").read_text())["identity"] == entry["identity"]


def test_each_job_went_to_its_partition_with_what_it_asks_for(slurm: Cluster, done: None) -> None:
    tasks = slurm.tasks()
    jobs = {number: rule_of(comment) for number, comment in slurm.jobs("completed").items()}
    assert set(ON_GPU) | {"prepare", "table", "plot", "report"} == set(jobs.values())
    for number, rule in jobs.items():
        partition, devices = tasks[number]
        job = slurm.job(number)
        limit = (
            "00:20:00" if job["Comment"].endswith("_evaluate_evaluate_samples") else "00:10:00"
        )  # one after the other
        assert (job["MinMemoryNode"], job["TimeLimit"], job["Partition"]) == ("1500M", limit, partition)
        if rule in ON_GPU:
            assert partition == "gpu" and devices in ("0", "1") and job["TresPerJob"] == "gres:gpu:1"
        else:
            assert partition == "cpu" and devices == "none" and "TresPerJob" not in job
    assert {devices for _, devices in tasks.values()} == {"0", "1", "none"}


def test_logs_of_the_cluster_and_of_the_jobs_are_kept(scratch: Tree, slurm: Cluster, done: None) -> None:
    for number in slurm.jobs("completed"):
        assert len(list((scratch.root / ".snakemake/slurm_logs").rglob(f"{number}.log"))) == 1
    assert all((scratch.root / entry["run"] / "train.log").exists() for entry in runs_of(scratch))


def test_a_run_is_at_most_two_submissions(scratch: Tree, slurm: Cluster, done: None) -> None:
    comments = list(slurm.jobs("all").values())
    for entry in runs_of(scratch):
        found = [comment for comment in comments if f"_{entry['identity'][:8]}" in comment]
        assert sorted(map(rule_of, found)) == ["evaluate", "train"]


def rule_of(comment: str) -> str:
    """The rule in a job's comment, ``rule_NAME`` or ``rule_NAME_wildcards_…``; a run's evaluations are ``evaluate``."""
    name = comment.removeprefix("rule_")
    return "evaluate" if name.startswith("evaluate_") else name.split("_wildcards_")[0]
