"""What real Snakemake plans when code, settings or file times change, and what several planners and suites share."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import planned_tree
import pytest
import yaml
from workflow_tree import TINY, copy_tree, planned, surroundings

RUNS = 5
"""Of tests/tiny.yaml: two of the structural GAN, two of the random encoder, one of SimCLR."""
REPORT = {"table": 1, "plot": 1, "report": 1}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny suite, planned by Snakemake and with every file that its jobs leave."""
    root = copy_tree(tmp_path_factory.mktemp("finished"))
    assert planned(root)["train"] == RUNS
    (plan,) = (root / "results/plans/tiny").glob("*.json")
    planned_tree.complete(root, json.loads(plan.read_text()))
    for kind in ("tables", "figures"):
        made = root / f"results/{kind}/tiny/made_from-{plan.stem}.json"
        made.parent.mkdir(parents=True)
        made.write_text("{}")
    page = root / "results/report/tiny.html"
    page.parent.mkdir()
    page.write_text("")
    return root


@pytest.fixture
def tree(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "tree", symlinks=True))


def work(root: Path, *arguments: str, configs: tuple[str, ...] = TINY) -> dict[str, int]:
    """Jobs of a dry run by rule, without the target's own and the sum."""
    found = planned(root, *arguments, configs=configs)
    return {rule: n for rule, n in found.items() if rule not in ("all", "runs", "total")}


def edit(root: Path, name: str, old: str, new: str) -> str:
    """Replace text in a file; returns what it was."""
    before = (root / name).read_text()
    assert before.count(old) == 1, name
    (root / name).write_text(before.replace(old, new))
    return before


def test_a_changed_value_plans_its_runs_alone_and_changed_back_nothing(tree: Path) -> None:
    assert work(tree) == {}
    before = (tree / "tests/tiny.yaml").read_text()
    settings = yaml.safe_load(before)
    settings["methods"]["simclr"]["settings"]["optimizer"] = {"lr": 0.5}
    (tree / "tests/tiny.yaml").write_text(yaml.safe_dump(settings))
    assert work(tree) == {"train": 1, "evaluate": 1, **REPORT}
    (tree / "tests/tiny.yaml").write_text(before)
    assert work(tree) == {}


def test_a_comment_plans_nothing_and_a_sign_in_a_loss_the_runs_that_use_it(tree: Path) -> None:
    (tree / "structgan/losses/cluster.py").open("a").write("\n# a comment\n")
    assert work(tree) == {}
    edit(tree, "structgan/losses/adversarial.py", "F.relu(1 - embeddings", "F.relu(1 + embeddings")
    assert work(tree) == {"train": 2, "evaluate": 2, "evaluate_samples": 2, **REPORT}


def test_an_edited_evaluation_measures_again_and_trains_nothing(tree: Path) -> None:
    samples = tree / "structgan/evaluation/samples.py"
    before = samples.read_text()
    samples.write_text(before + "\nEDITED = 1\n")
    assert work(tree) == {"evaluate_samples": 2, **REPORT}
    samples.write_text(before + "\n# a comment\n")
    assert work(tree) == {}


def test_file_times_and_snakemakes_records_mean_nothing(tree: Path) -> None:
    """As after a clone, or after dvc pull."""
    shutil.rmtree(tree / ".snakemake")
    chance = random.Random(0)
    for path in (path for part in ("data", "results") for path in (tree / part).rglob("*") if path.is_file()):
        os.utime(path, (chance.uniform(1e9, 1.7e9),) * 2)
    assert set(work(tree)) <= set(REPORT)
    assert work(tree, "--", "runs") == {}


def test_tables_of_another_plan_are_made_again_whatever_their_times(tree: Path) -> None:
    shutil.rmtree(tree / ".snakemake")
    edit(tree, "tests/tiny.yaml", "title: Tiny", "title: Another title")
    assert work(tree) == REPORT


def test_suites_are_views_that_share_runs(tree: Path) -> None:
    (tree / "other.yaml").write_text("suite: other\n")
    assert work(tree, configs=(*TINY, "other.yaml")) == REPORT
    grid = "[{datasets: [digits], methods: [simclr], augmentations: [simclr, none], seeds: [0]}]"
    (tree / "other.yaml").write_text(f"suite: third\ngrid: {grid}\n")
    assert work(tree, configs=(*TINY, "other.yaml")) == {"train": 1, "evaluate": 1, **REPORT}
    assert work(tree) == {}


def test_a_data_set_of_the_same_name_and_other_settings_lies_beside_the_first(tree: Path) -> None:
    before = sorted(path.read_bytes() for path in (tree / "data/prepared").glob("digits-*"))
    (tree / "other.yaml").write_text("suite: other\ndatasets: {digits: {train_size: 300}}\n")
    assert work(tree, configs=(*TINY, "other.yaml"))["train"] == RUNS
    assert work(tree) == {}
    after = [path.read_bytes() for path in (tree / "data/prepared").glob("digits-*")]
    assert len(after) == len(before) + 1 and all(content in after for content in before)


def test_two_planners_at_once_disturb_nobody(tree: Path) -> None:
    """Both suites differ in a value; each planner writes its own files whole and changes none of the other's."""
    before = {path: path.read_bytes() for path in (tree / "results").rglob("*.json")}
    (tree / "other.yaml").write_text("methods: {simclr: {settings: {temperature: 0.3}}}\n")
    command = [sys.executable, "-m", "structgan", "configure"]
    planners = [
        subprocess.Popen(
            [*command, *(word for file in files for word in ("--configfile", file))],
            cwd=tree,
            env=surroundings(tree),
            stdout=subprocess.PIPE,
            text=True,
        )
        for files in ((*TINY, "other.yaml"), TINY, (*TINY, "other.yaml"))
    ]
    said = [planner.communicate(timeout=300)[0] for planner in planners]
    assert [planner.returncode for planner in planners] == [0, 0, 0]
    assert said[0] == said[2] != said[1]
    after = {path: path.read_bytes() for path in (tree / "results").rglob("*.json")}
    assert {path: after[path] for path in before} == before
    assert len(after) == len(before) + 2  # a plan and a run
    assert work(tree) == {}


def test_missing_results_are_made_though_tables_look_new(tree: Path) -> None:
    shutil.rmtree(tree / "results/runs")
    assert work(tree)["train"] == RUNS


def test_every_profile_plans_by_times_and_inputs_alone() -> None:
    """snakemake#3234: code and params, judged again inside each cluster job, had outputs of days overwritten."""
    profiles = sorted((Path(__file__).parents[2] / "workflow/profiles").glob("*/config.yaml"))
    assert [path.parent.name for path in profiles] == ["default", "gpu", "local", "slurm"]
    for path in profiles:
        assert yaml.safe_load(path.read_text())["rerun-triggers"] == ["mtime", "input"]
