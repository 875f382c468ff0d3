"""A training that is longer than its partition's limit goes on over as many submissions as it needs; limits run out by
themselves, which takes minutes (make test-slurm-limits)."""

import json
from pathlib import Path

import pytest
from cluster import Cluster
from slow import add_slow, same_end, train_untouched
from trees import Tree, small

pytestmark = pytest.mark.limits
CONFIG = "tests/slurm/limits.yaml"
RUN = "results/runs/digits_gradient/slow/none/base/seed=0"


@pytest.fixture(scope="module")
def run(slurm: Cluster, scratch: Tree) -> Path:
    """The run, trained through the cluster in submissions of three minutes each, which it needs three of at least."""
    add_slow(scratch, CONFIG)
    (path,) = (scratch.root / RUN).iterdir()
    target = str(path.relative_to(scratch.root) / "encoder.safetensors")
    warned = ("--default-resources", "mem_mb=500", "slurm_extra='--signal=USR1@60'")
    intervals = ("--slurm-init-seconds-before-status-checks", "3")
    scratch.run(
        "--profile", "slurm", *small(500, 3, 0), *warned, *intervals, target, config=CONFIG, timeout=900, SLOW="1.0"
    )
    return path


def test_the_run_needed_several_submissions_and_each_went_on_where_the_last_one_stood(
    slurm: Cluster, run: Path
) -> None:
    submissions = json.loads((run / "env.json").read_text())["submissions"]
    trained = [number for number, what in slurm.jobs("all").items() if what.startswith("rule_train_")]
    assert len(trained) >= 3 and len(submissions) >= 3, (trained, submissions)
    limits = {slurm.job(number)["TimeLimit"] for number in trained}
    assert limits == {"00:03:00"}
    steps = [entry["steps"] for entry in submissions]
    assert sum(steps) == 300 and min(steps) > 0, submissions


def test_the_run_ends_as_one_that_no_limit_stopped(scratch: Tree, run: Path) -> None:
    same_end(run, train_untouched(scratch, {"run": run}) / "run")
