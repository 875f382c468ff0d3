"""What the slurm profile submits for a run, with the real plug-in and scripts in place of Slurm's commands."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import stand_in_slurm
from workflow_tree import ROOT, TINY, copy_tree, planned, surroundings

from structgan import provenance

pytestmark = pytest.mark.xdist_group("submissions")
BOTH = ("evaluate", "evaluate_samples")
CONFIGS = (*TINY, "one.yaml", "more.yaml")
ONE = """
grid: [{datasets: [digits], methods: [structural], augmentations: [none], variants: [full], seeds: [0]}]
"""


class Cluster:
    """A copy of the tree with one run to make, data and extractor at hand, and a folder of Slurm's commands."""

    def __init__(self, folder: Path, more: str = "{}") -> None:
        self.tree, self.tools = copy_tree(folder / "tree"), stand_in_slurm.install(folder / "bin")
        shutil.copy2(ROOT / "slurm", self.tree / "slurm", follow_symlinks=False)
        (self.tree / "one.yaml").write_text(ONE)
        (self.tree / "more.yaml").write_text(more)
        assert planned(self.tree, "--", "runs", configs=CONFIGS)["extractor"] == 1
        (plan,) = (self.tree / "results/plans/tiny").glob("*.json")
        (self.entry,) = json.loads(plan.read_text())["runs"]
        self.run = self.tree / self.entry["run"]
        (extractor,) = (self.tree / "results/protocols").glob("extractor-*.json")
        for settings in (self.tree / "data/prepared").glob("*.json"):
            settings.with_suffix(".safetensors").touch()
            described = json.loads(settings.read_text())
            protocol = json.loads(extractor.read_text())
            made = self.tree / provenance.extractor_path(described["name"], described["identity"], protocol)
            made.parent.mkdir(parents=True, exist_ok=True)
            made.touch()

    def comment(self, *rules: str) -> str:
        """What the plug-in calls the submission of these rules' jobs of the run."""
        names = f"digits_structural_none_full_0_{self.run.name}"
        return f"rule_train_wildcards_{names}" if rules == ("train",) else f"rule_evaluate_{names}_{'_'.join(rules)}"

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
    assert (train["--comment"], evaluate["--comment"]) == (cluster.comment("train"), cluster.comment(*BOTH))
    asked = [
        tuple(job[name] for name in ("--gpus", "--cpus-per-task", "--mem", "-t", "-p")) for job in (train, evaluate)
    ]
    assert asked == [("1", "4", "16000", "2880", "gpu"), ("1", "4", "16000", "240", "gpu")]
    verbs = (cluster.tools / "verbs").read_text().split()
    assert verbs[0] == "train" and verbs[1:3] == ["probe", "fidelity"]


def test_generation_metrics_that_fail_leave_the_probes(cluster: Cluster) -> None:
    """The probe goes first and its result stays; afterwards what failed alone is planned, and submitted once."""
    before, files = len(stand_in_slurm.submissions(cluster.tools)), cluster.entry["evaluations"]
    for name in files.values():
        (cluster.run / name).unlink()
    (cluster.tools / "fidelity.fails").touch()
    assert cluster.snakemake().returncode == 1
    assert (cluster.run / files["probe"]).exists() and not (cluster.run / files["fidelity"]).exists()
    assert planned(cluster.tree, "--", "runs", configs=CONFIGS) == {"evaluate_samples": 1, "runs": 1, "total": 2}
    (cluster.tools / "fidelity.fails").unlink()
    assert cluster.snakemake().returncode == 0
    asked = [job["--comment"] for job in stand_in_slurm.submissions(cluster.tools)]
    assert asked[before:] == [cluster.comment(*BOTH), cluster.comment("evaluate_samples")]
