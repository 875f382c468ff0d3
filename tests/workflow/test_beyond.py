"""Dense predictions and transfer in the DAG: planned where the suite asks, submitted with the other evaluations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import stand_in_slurm
from test_submissions import BOTH, Cluster
from workflow_tree import ROOT, TINY, copy_tree, planned, snakemake

from structgan import config

ASKED = (*TINY, "asked.yaml")
BLOCK = {
    "datasets": {
        "digits_other": {"builder": "digits", "image_size": 16, "seed": 1, "train_size": 200, "test_size": 100}
    },
    "evaluation": {
        "dense": config.read(ROOT / "workflow/config/field.yaml")["evaluation"]["dense"],
        "transfer": {"targets": {"digits": ["digits_other"]}, "resize": False},
    },
}


def test_jobs_are_planned_only_where_the_suite_asks(tmp_path: Path) -> None:
    tree = copy_tree(tmp_path)
    plain = planned(tree)
    assert plain["prepare"] == 1
    (tree / "asked.yaml").write_text(json.dumps(BLOCK))
    counts = planned(tree, configs=ASKED)
    runs = counts["train"]
    more = {"evaluate": plain["evaluate"] + 2 * runs, "prepare": 2, "total": plain["total"] + 2 * runs + 1}
    assert counts == plain | more
    (tree / "bad.yaml").write_text('{"evaluation": {"dense": {"detection": {"strid": 4}}}}')
    done = snakemake(tree, "--dry-run", configs=(*ASKED, "bad.yaml"))
    lines = [line for line in done.stderr.splitlines() if line.startswith("structgan:")]
    assert done.returncode == 2 and len(lines) == 1 and "evaluation.dense.detection.strid" in lines[0]
    assert "did you mean 'stride'" in lines[0]


@pytest.mark.xdist_group("submissions")
def test_a_run_is_still_two_submissions(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, json.dumps(BLOCK))
    done = cluster.snakemake()
    assert done.returncode == 0, done.stderr[-3000:]
    train, evaluate = stand_in_slurm.submissions(cluster.tools)
    assert (train["--comment"], evaluate["--comment"]) == (cluster.comment("train"), cluster.comment(*BOTH))
    assert (evaluate["--gpus"], evaluate["--mem"], evaluate["-t"]) == ("1", "16000", "480")
    verbs = (cluster.tools / "verbs").read_text().split()
    assert verbs[0] == "train" and verbs[-1] == "fidelity" and sorted(verbs[1:-1]) == ["dense", "probe", "transfer"]
