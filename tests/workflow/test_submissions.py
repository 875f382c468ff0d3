"""What the slurm profile submits for a run, with the real plug-in and scripts in place of Slurm's commands."""

import json
import sys
from pathlib import Path

import pytest
import stand_in_slurm
from tree import ROOT, TINY, Tree

from structgan import provenance, yaml_reader

pytestmark = pytest.mark.slow
BOTH = ("evaluate", "evaluate_samples")
CONFIGS = (*TINY, "one.yaml")
GRID = {"datasets": ["digits_gradient"], "methods": ["structural"], "augmentations": ["none"], "seeds": [0]}
ONE = {
    "grid": [{**GRID, "variants": ["full"]}],
    "datasets": {
        "digits_other": {"builder": "digits", "image_size": 16, "seed": 1, "train_size": 200, "test_size": 100}
    },
    "evaluation": {
        "dense": yaml_reader.read(ROOT / "workflow/config/field.yaml")["evaluation"]["dense"],
        "transfer": {"targets": {"digits_gradient": ["digits_other"]}, "resize": False},
    },
}
"""One run with four evaluations."""


class Cluster:
    """A copy of the tree with one run to make, data and extractor at hand, and a folder of Slurm's commands."""

    def __init__(self, folder: Path) -> None:
        self.tree, self.tools = Tree.copy(folder / "tree"), stand_in_slurm.install(folder / "bin")
        (self.tree.root / "one.yaml").write_text(json.dumps(ONE))
        assert self.tree.planned("--", "runs", configs=CONFIGS)["extractor"] == 1
        (self.entry,) = self.tree.plan()["runs"]
        self.run = self.tree.root / self.entry["run"]
        (extractor,) = (self.tree.root / "results/protocols").glob("extractor-*.json")
        for settings in (self.tree.root / "data/prepared").glob("*.json"):
            settings.with_suffix(".safetensors").touch()
            described = json.loads(settings.read_text())
            protocol = json.loads(extractor.read_text())
            made = self.tree.root / provenance.extractor_path(described["name"], described["identity"], protocol)
            made.parent.mkdir(parents=True, exist_ok=True)
            made.touch()

    def comment(self, *rules: str) -> str:
        """What the plug-in calls the submission of these rules' jobs of the run."""
        names = f"digits_gradient_structural_none_full_0_{self.run.name}"
        return f"rule_train_wildcards_{names}" if rules == ("train",) else f"rule_evaluate_{names}_{'_'.join(rules)}"

    def snakemake(self, code: int = 0) -> None:
        options = ["--slurm-init-seconds-before-status-checks", "1", "--retries", "0", "--latency-wait", "0"]
        command = [sys.executable, "-m", "snakemake", "--profile", "slurm", "--configfile", *CONFIGS, *options]
        self.tree.call(*command, "--", "runs", code=code, PATH=stand_in_slurm.path(self.tools))


def test_a_run_is_two_submissions_and_generation_metrics_that_fail_leave_the_probes(tmp_path: Path) -> None:
    """The evaluations take turns: the larger memory, the sum of the times, one GPU. What failed is submitted alone."""
    cluster = Cluster(tmp_path)
    (cluster.tools / "fidelity.fails").touch()
    cluster.snakemake(code=1)
    train, evaluate = stand_in_slurm.submissions(cluster.tools)
    assert (train["--comment"], evaluate["--comment"]) == (cluster.comment("train"), cluster.comment(*BOTH))
    asked = [
        tuple(job[name] for name in ("--gpus", "--cpus-per-task", "--mem", "-t", "-p")) for job in (train, evaluate)
    ]
    assert asked == [("1", "4", "16000", "2880", "gpu"), ("1", "4", "16000", "480", "gpu")]
    verbs = (cluster.tools / "verbs").read_text().split()
    assert verbs[0] == "train" and verbs[-1] == "fidelity" and sorted(verbs[1:-1]) == ["dense", "probe", "transfer"]
    files = cluster.entry["evaluations"]
    assert [name for name in files if not (cluster.run / files[name]).exists()] == ["fidelity"]
    (cluster.tools / "fidelity.fails").unlink()
    cluster.snakemake()
    assert [job["--comment"] for job in stand_in_slurm.submissions(cluster.tools)][2:] == [
        cluster.comment("evaluate_samples")
    ]
