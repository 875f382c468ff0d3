"""What real Snakemake plans on a finished suite: after changed values and code, with other suites, in a fresh clone."""

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
from tree import ROOT, RUNS, TINY, Tree

from structgan import provenance

REPORT = {"table": 1, "plot": 1, "report": 1}
OTHER = (*TINY, "other.yaml")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """The tiny suite, planned by Snakemake and with every file that its jobs leave."""
    tree = Tree.copy(tmp_path_factory.mktemp("finished"))
    assert tree.planned()["train"] == RUNS
    (plan,) = (tree.root / "results/plans/tiny").glob("*.json")
    planned_tree.complete(tree.root, tree.plan())
    made = [tree.root / f"results/{kind}/tiny/made_from-{plan.stem}.json" for kind in ("tables", "figures")]
    for path in (*made, tree.root / "results/report/tiny.html"):
        path.parent.mkdir(parents=True)
        provenance.write_sealed(path, {})
    return tree


@pytest.fixture
def tree(finished: Tree, tmp_path: Path) -> Tree:
    return finished.copied(tmp_path / "tree")


def test_a_changed_value_plans_its_runs_alone_and_changed_back_nothing(tree: Tree) -> None:
    before = tree.edit("tests/tiny.yaml", "      encoder: {blocks: [1, 1]}\n  plain_gan",
                       "      optimizer: {lr: 5e-1}\n      encoder: {blocks: [1, 1]}\n  plain_gan")  # fmt: skip
    assert tree.planned() == {"train": 1, "evaluate": 1, **REPORT}
    (tree.root / "tests/tiny.yaml").write_text(before)
    assert tree.planned() == {}


def test_a_comment_plans_nothing_and_a_sign_in_a_loss_the_runs_that_use_it(tree: Tree) -> None:
    (tree.root / "structgan/losses/cluster.py").open("a").write("\n# a comment\n")
    assert tree.planned() == {}
    tree.edit("structgan/losses/adversarial.py", "F.relu(1 - embeddings", "F.relu(1 + embeddings")
    assert tree.planned() == {"train": 1, "evaluate": 1, "evaluate_samples": 1, **REPORT}


@pytest.mark.slow
def test_file_times_and_snakemakes_records_mean_nothing(tree: Tree) -> None:
    """As after a clone, or after dvc pull."""
    shutil.rmtree(tree.root / ".snakemake")
    chance = random.Random(0)
    for path in (path for part in ("data", "results") for path in (tree.root / part).rglob("*") if path.is_file()):
        os.utime(path, (chance.uniform(1e9, 1.7e9),) * 2)
    assert set(tree.planned()) <= set(REPORT)
    assert tree.planned("--", "runs") == {}


@pytest.mark.slow
def test_suites_are_views_that_share_runs(tree: Tree) -> None:
    grid = "[{datasets: [digits_gradient], methods: [simclr], augmentations: [simclr, none], seeds: [0]}]"
    (tree.root / "other.yaml").write_text(f"suite: other\ngrid: {grid}\n")
    assert tree.planned(configs=OTHER) == {"train": 1, "evaluate": 1, **REPORT}
    assert tree.planned() == {}


@pytest.mark.slow
def test_missing_results_are_made_though_tables_look_new(tree: Tree) -> None:
    shutil.rmtree(tree.root / "results/runs")
    assert tree.planned()["train"] == RUNS


@pytest.mark.slow
def test_an_edited_evaluation_measures_again_and_trains_nothing(tree: Tree) -> None:
    before = tree.edit("structgan/evaluation/samples.py", '"""\n\nfrom', '"""\n\nEDITED = 1\n\nfrom')
    assert tree.planned() == {"evaluate_samples": 1, **REPORT}
    (tree.root / "structgan/evaluation/samples.py").write_text(before + "\n# a comment\n")
    assert tree.planned() == {}


@pytest.mark.slow
def test_tables_of_another_plan_are_made_again_whatever_their_times(tree: Tree) -> None:
    shutil.rmtree(tree.root / ".snakemake")
    tree.edit("tests/tiny.yaml", "title: Tiny", "title: Another title")
    assert tree.planned() == REPORT


@pytest.mark.slow
def test_a_data_set_of_the_same_name_and_other_settings_lies_beside_the_first(tree: Tree) -> None:
    before = sorted(path.read_bytes() for path in (tree.root / "data/prepared").glob("digits_gradient-*"))
    (tree.root / "other.yaml").write_text("suite: other\ndatasets: {digits_gradient: {train_size: 300}}\n")
    assert tree.planned(configs=OTHER)["train"] == RUNS
    assert tree.planned() == {}
    after = [path.read_bytes() for path in (tree.root / "data/prepared").glob("digits_gradient-*")]
    assert len(after) == len(before) + 1 and all(content in after for content in before)


@pytest.mark.slow
def test_planners_at_once_disturb_nobody(tree: Tree) -> None:
    """Two suites differ in a value; each planner writes its own files whole and changes none of the other's."""
    before = {path: path.read_bytes() for path in (tree.root / "results").rglob("*.json")}
    (tree.root / "other.yaml").write_text("methods: {simclr: {settings: {temperature: 0.3}}}\n")
    command = [sys.executable, "-m", "structgan", "configure"]
    planners = [
        subprocess.Popen(
            [*command, "--configfile", *files],
            cwd=tree.root, env=tree.environment(), stdout=subprocess.PIPE, text=True,
        )
        for files in (OTHER, TINY, OTHER)
    ]  # fmt: skip
    said = [planner.communicate(timeout=300)[0] for planner in planners]
    assert [planner.returncode for planner in planners] == [0, 0, 0]
    assert said[0] == said[2] != said[1]
    after = {path: path.read_bytes() for path in (tree.root / "results").rglob("*.json")}
    assert {path: after[path] for path in before} == before
    assert len(after) == len(before) + 2  # a plan and a run
    assert tree.planned() == {}


@pytest.mark.slow
def test_edited_rules_overwrite_nothing(tree: Tree) -> None:
    """snakemake#3234: code and params, judged again inside each cluster job, had outputs of days overwritten."""
    tree.edit("workflow/rules/train.smk", "params:\n", "params:\n        added=1,\n")
    tree.edit("workflow/rules/train.smk", "structgan train --run", "structgan train  --run")
    bare = [sys.executable, "-m", "snakemake", "--dry-run", "--cores", "1", "--configfile", *TINY]

    def dry(*options: str) -> str:
        done = tree.call(*bare, *options, "--", "runs")
        return done.stdout + done.stderr

    assert "Nothing to be done" in dry()
    assert tree.planned("--", "runs") == {}


def test_every_profile_plans_by_times_and_inputs_alone() -> None:
    profiles = sorted((ROOT / "workflow/profiles").glob("*/config.yaml"))
    assert [path.parent.name for path in profiles] == ["default", "gpu", "local", "slurm"]
    for path in profiles:
        assert yaml.safe_load(path.read_text())["rerun-triggers"] == ["mtime", "input"]


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "processes"), [(2, 2), (1, 1)])
def test_training_takes_a_process_for_each_gpu(tree: Tree, limit: int, processes: int) -> None:
    """The command that Snakemake prints; it is itself run in test_distributed_runs."""
    shutil.rmtree(tree.root / "results/runs")
    asked = ("--set-resources", "train:gpu=2", "--resources", f"gpu={limit}", "--dry-run", "--printshellcmds")
    commands = [line for line in tree.snakemake(*asked, "--", "runs").splitlines() if " structgan train " in line]
    start = "torchrun --standalone --nproc-per-node 2 " if processes == 2 else "python -m structgan train "
    assert commands and all(start in line for line in commands)


@pytest.mark.slow
def test_the_papers_grid_is_planned(tree: Tree) -> None:
    counts = tree.planned(configs=())
    # structural: 3 data sets x (4 regimes + 6 further variants) x 3 seeds; plain_gan: 3 x 4 x 3
    generative = 90 + 36
    # simclr and supervised: 3 x 4 x 3 each; random: no augmentation only
    assert counts["train"] == generative + 36 + 36 + 9
    transferred = counts["train"] * 2 // 3  # between CIFAR-10 and CIFAR-100
    assert counts["evaluate"] == counts["train"] + transferred
    assert counts["evaluate_samples"] == generative
    assert counts["prepare"] == 3


def test_what_a_suite_asks_for_is_planned_and_a_mistake_is_one_line(tree: Tree) -> None:
    """Dense predictions and transfer; then a mistyped key, which ends Snakemake with exit code 2."""
    dense = yaml.safe_load((ROOT / "workflow/config/field.yaml").read_text())["evaluation"]["dense"]
    other = {"builder": "digits", "image_size": 16, "seed": 1, "train_size": 200, "test_size": 100}
    transfer = {"targets": {"digits_gradient": ["digits_other"]}, "resize": False}
    asked = {"datasets": {"digits_other": other}, "evaluation": {"dense": dense, "transfer": transfer}}
    (tree.root / "other.yaml").write_text(json.dumps(asked))
    assert tree.planned(configs=OTHER) == {"prepare": 1, "evaluate": 2 * RUNS, **REPORT}
    (tree.root / "bad.yaml").write_text('{"evaluation": {"dense": {"detection": {"strid": 4}}}}')
    said = tree.snakemake("--dry-run", configs=(*OTHER, "bad.yaml"), code=2).splitlines()
    (line,) = (line for line in said if line.startswith("structgan:"))
    assert "bad.yaml: evaluation.dense.detection: unknown key 'strid'" in line and "'stride'" in line
    assert not [line for line in said if "Traceback" in line]


@pytest.mark.parametrize(
    ("folder", "words", "line"),
    [
        ("tree", ("--config", "device=gpu"), '--config: device = "gpu": must be one of auto, cpu, cuda'),
        ("tree", ("--configfile", "tests/tiny.yaml"), "--configfile is given twice"),
        ("{v2}", (), "Snakemake takes braces in a path for wildcards"),
    ],
)
def test_what_snakemake_would_misread_is_one_line(finished: Tree, tmp_path: Path, folder: str, words: tuple[str, ...],
                                                  line: str) -> None:  # fmt: skip
    said = finished.copied(tmp_path / folder).snakemake("--dry-run", *words, code=2)
    assert [line in each for each in said.splitlines() if each.startswith("structgan:")] == [True]
    assert "Traceback" not in said
