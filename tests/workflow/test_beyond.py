"""Dense predictions and transfer in the DAG: planned where the suite asks, submitted with the other evaluations."""

from __future__ import annotations

import json
from pathlib import Path

import frozen_runs
import pytest
import stand_in_slurm
from test_submissions import Cluster
from workflow_tree import TINY, copy_tree, planned, snakemake

ASKED = (*TINY, "asked.yaml")
BLOCK = {
    "datasets": {
        "digits_other": {"builder": "digits", "image_size": 16, "seed": 1, "train_size": 200, "test_size": 100}
    },
    "evaluation": {
        "dense": frozen_runs.DENSE,
        "transfer": {"targets": {"digits": ["digits_other"]}, "resize": False},
    },
}


def test_jobs_are_planned_only_where_the_suite_asks(tmp_path: Path) -> None:
    tree = copy_tree(tmp_path)
    plain = planned(tree)
    assert not {"dense", "transfer"} & set(plain) and plain["prepare"] == 1
    (tree / "asked.yaml").write_text(json.dumps(BLOCK))
    counts = planned(tree, configs=ASKED)
    assert counts["dense"] == counts["transfer"] == counts["probe"] and counts["prepare"] == 2
    rest = {rule: count for rule, count in counts.items() if rule not in ("dense", "transfer", "prepare", "total")}
    assert rest == {rule: count for rule, count in plain.items() if rule not in ("prepare", "total")}
    (tree / "bad.yaml").write_text('{"evaluation": {"dense": {"detection": {"strid": 4}}}}')
    done = snakemake(tree, "--dry-run", configs=(*ASKED, "bad.yaml"))
    lines = [line for line in done.stderr.splitlines() if line.startswith("structgan:")]
    assert done.returncode == 2 and len(lines) == 1 and "evaluation.dense.detection.strid" in lines[0]
    assert "did you mean 'stride'" in lines[0]


@pytest.mark.xdist_group("submissions")
def test_a_run_is_still_two_submissions(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, json.dumps(BLOCK))
    (cluster.tree / "data/prepared/digits_other.safetensors").touch()
    done = cluster.snakemake()
    assert done.returncode == 0, done.stderr[-3000:]
    train, evaluate = stand_in_slurm.submissions(cluster.tools)
    assert train["--comment"].startswith("rule_train_generative")
    assert evaluate["--comment"] == "rule_evaluate_digits_structural_none_full_0_dense_fidelity_probe_transfer"
    assert (evaluate["--gpus"], evaluate["--mem"], evaluate["-t"]) == ("1", "3000", "80")
    verbs = (cluster.tools / "verbs").read_text().split()
    assert verbs[1] == "probe" and set(verbs[2:]) == {"fidelity", "dense", "transfer"}
