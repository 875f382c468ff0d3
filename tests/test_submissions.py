"""What the slurm profile submits for a run, with the real plug-in and scripts in place of Slurm's commands."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import stand_in_slurm
from workflow_tree import ROOT, TINY, copy_tree, planned, surroundings

pytestmark = pytest.mark.xdist_group("submissions")
CONFIGS = (*TINY, "one.yaml", "more.yaml")
ONE = """
grid: [{datasets: [digits], methods: [structural], augmentations: [none], variants: [full], seeds: [0]}]
resources:
  train: {gpu: 1, threads: 4, mem_mb: 9000, runtime_min: 50}
  evaluate: {gpu: 1, threads: 2, mem_mb: 3000, runtime_min: 20}
"""
RUN = "results/runs/tiny/digits/structural/none/full/seed=0"


class Cluster:
    """A copy of the tree with one run to make, data and extractor at hand, and a folder of Slurm's commands."""

    def __init__(self, folder: Path, more: str = "{}") -> None:
        self.tree, self.tools = copy_tree(folder / "tree"), stand_in_slurm.install(folder / "bin")
        shutil.copy2(ROOT / "slurm", self.tree / "slurm", follow_symlinks=False)
        (self.tree / "one.yaml").write_text(ONE)
        (self.tree / "more.yaml").write_text(more)
        assert planned(self.tree, "--", "runs", configs=CONFIGS)["extractor"] == 1
        for name in ("data/prepared/digits.safetensors", "results/runs/tiny/digits/extractor.safetensors"):
            (self.tree / name).parent.mkdir(parents=True, exist_ok=True)
            (self.tree / name).touch()

    def snakemake(self) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "snakemake", "--profile", "slurm", "--configfile", *CONFIGS]
        command += [
            "--slurm-init-seconds-before-status-checks",
            "1",
            "--retries",
            "0",
            "--latency-wait",
            "0",
            "--",
            "runs",
        ]
        values = surroundings(self.tree, PATH=stand_in_slurm.path(self.tools))
        return subprocess.run(command, cwd=self.tree, env=values, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """A cluster on which the run has been made."""
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    done = made.snakemake()
    assert done.returncode == 0, done.stderr[-3000:]
    return made


def test_a_run_is_two_submissions_and_neither_asks_for_more_than_its_jobs(cluster: Cluster) -> None:
    """The evaluations take turns: the larger memory, the sum of the times, one GPU."""
    train, evaluate = stand_in_slurm.submissions(cluster.tools)[:2]
    assert train["--comment"] == "rule_train_generative_wildcards_digits_structural_none_full_0"
    assert evaluate["--comment"] == "rule_evaluate_digits_structural_none_full_0_fidelity_probe"
    asked = [
        tuple(job[name] for name in ("--gpus", "--cpus-per-task", "--mem", "-t", "-p")) for job in (train, evaluate)
    ]
    assert asked == [("1", "4", "9000", "50", "gpu"), ("1", "2", "3000", "40", "gpu")]
    verbs = (cluster.tools / "verbs").read_text().split()
    assert verbs[:3] == ["train", "probe", "fidelity"]


def test_generation_metrics_that_fail_leave_the_probes(cluster: Cluster) -> None:
    """The probe goes first and its result stays; afterwards what failed alone is planned, and submitted once."""
    before = len(stand_in_slurm.submissions(cluster.tools))
    for name in ("probe", "fidelity"):
        (cluster.tree / RUN / f"{name}.json").unlink()
    (cluster.tools / "fidelity.fails").touch()
    assert cluster.snakemake().returncode == 1
    assert (cluster.tree / RUN / "probe.json").exists() and not (cluster.tree / RUN / "fidelity.json").exists()
    assert planned(cluster.tree, "--", "runs", configs=CONFIGS) == {"fidelity": 1, "runs": 1, "total": 2}
    (cluster.tools / "fidelity.fails").unlink()
    assert cluster.snakemake().returncode == 0
    asked = [job["--comment"].removeprefix("rule_evaluate_") for job in stand_in_slurm.submissions(cluster.tools)]
    name = "digits_structural_none_full_0"
    assert asked[before:] == [f"{name}_fidelity_probe", f"{name}_fidelity"]
