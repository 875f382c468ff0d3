"""What real Snakemake plans when code, settings or times change, how it is called, and who else is running."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import planned_tree
import pytest
import yaml
from workflow_tree import TINY, copy_tree, planned, snakemake

REPORT = {"table": 1, "plot": 1, "report": 1}
RUNS = 5
"""Of tests/tiny.yaml: two of the structural GAN, two of the random encoder, one of SimCLR."""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The tiny suite, planned by Snakemake and with every file that its jobs leave."""
    root = copy_tree(tmp_path)
    assert planned(root)["probe"] == RUNS
    planned_tree.complete(root, json.loads((root / "results/runs/tiny/plan.json").read_text()))
    return root


def work(root: Path, *arguments: str) -> dict[str, int]:
    """Jobs of a dry run by rule, without the target's own and the sum."""
    return {rule: n for rule, n in planned(root, *arguments).items() if rule not in ("all", "runs", "total")}


def edit(root: Path, name: str, text: str = "\nEDITED = 1\n") -> str:
    before = (root / name).read_text()
    (root / name).write_text(before + text)
    return before


def test_an_edited_metric_measures_again_and_trains_nothing(tree: Path) -> None:
    assert work(tree) == {}
    before = edit(tree, "structgan/evaluation/neighbours.py")
    assert work(tree) == {"probe": RUNS, **REPORT}
    (tree / "structgan/evaluation/neighbours.py").write_text(before + "\n# a comment\n")
    assert work(tree, "--", "runs") == {}
    edit(tree, "structgan/evaluation/samples.py")
    assert work(tree, "--", "runs") == {"fidelity": 2}


def test_touched_inputs_and_a_clone_without_metadata_plan_no_work(tree: Path) -> None:
    (tree / ".snakemake").rename(tree / "elsewhere")
    suite = tree / "results/runs/tiny"
    for path in [*tree.glob("data/prepared/*"), *suite.glob("protocol/*"), *suite.rglob("config.json")]:
        os.utime(path, (path.stat().st_mtime + 50,) * 2)
    assert work(tree, "--", "runs") == {}


def test_a_learning_rate_trains_its_method_alone_and_nothing_once_changed_back(tree: Path) -> None:
    tiny = tree / "tests/tiny.yaml"
    before = tiny.read_text()
    settings = yaml.safe_load(before)
    settings["methods"]["simclr"]["settings"]["optimiser"] = {"lr": 0.5}
    tiny.write_text(yaml.safe_dump(settings))
    assert work(tree) == {"train": 1, "probe": 1, **REPORT}
    tiny.write_text(before)
    assert work(tree, "--", "runs") == {}


def test_every_profile_plans_by_times_and_inputs_alone() -> None:
    profiles = sorted((Path(__file__).parent.parent / "workflow/profiles").glob("*/config.yaml"))
    assert [path.parent.name for path in profiles] == ["default", "local", "slurm"]
    for path in profiles:
        assert yaml.safe_load(path.read_text())["rerun-triggers"] == ["mtime", "input"]


HOLD = (
    "import sys; from structgan import config, plan; "
    "plan.write(config.load(sys.argv[1:]), [str(config.BASE), *sys.argv[1:]]); "
    "print('planned', flush=True); sys.stdin.read()"
)


def test_a_second_snakemake_changes_nothing_beneath_the_first(tree: Path) -> None:
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD, *TINY],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert first.stdout is not None and first.stdout.readline() == "planned\n"
        before = {path: path.stat().st_mtime_ns for path in (tree / "results").rglob("*.json")}
        (tree / "other.yaml").write_text("methods: {simclr: {settings: {temperature: 0.3}}}\n")
        done = snakemake(tree, "--dry-run", configs=(*TINY, "other.yaml"))
        assert done.returncode == 2 and "Traceback" not in done.stderr
        lines = [line for line in done.stderr.splitlines() if line.startswith("structgan:")]
        assert (
            len(lines) == 1 and f"in use by process {first.pid} on " in lines[0] and "nothing was changed" in lines[0]
        )
        (tree / "data.yaml").write_text("suite: third\ndatasets: {digits: {train_size: 300}}\n")
        done = snakemake(tree, "--dry-run", configs=(*TINY, "data.yaml"))
        assert done.returncode == 2 and "data/prepared/digits.json: in use by process" in done.stderr
        assert {path: path.stat().st_mtime_ns for path in (tree / "results").rglob("*.json")} == before
        assert planned(tree) == {}  # the same plan may be looked at
    finally:
        first.kill()
        first.communicate()
    assert planned(tree, configs=(*TINY, "other.yaml"))["train"] == 1
