"""One whole run of the DAG with real Snakemake: what it leaves, what is planned again, what is published again."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from workflow_tree import TINY, copy_tree, planned, snakemake, surroundings

pytestmark = pytest.mark.xdist_group("whole run")
REPRESENTATION = (
    "dataset,method,augmentation,variant,seeds,linear_mean,linear_std,svm_mean,svm_std,"
    "kmeans_mean,kmeans_std,knn_mean,knn_std"
)
GENERATION = "dataset,method,augmentation,variant,seeds,fid_mean,fid_std,is_mean,is_std,extractor"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = copy_tree(tmp_path_factory.mktemp("tree"))
    done = snakemake(tree)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return tree


def copy_of(finished: Path, folder: Path) -> Path:
    return Path(shutil.copytree(finished, folder / "tree", symlinks=True))


def test_one_command_goes_from_data_to_tables_figures_and_page(finished: Path) -> None:
    tables = finished / "results/tables/tiny"
    representation = (tables / "representation.csv").read_text().splitlines()
    assert representation[0] == REPRESENTATION
    rows = [line.split(",")[1:5] for line in representation[1:]]
    assert sorted(rows) == [
        ["random", "none", "base", "2"],
        ["simclr", "simclr", "base", "1"],
        ["structural", "none", "full", "1"],
        ["structural", "none", "no_cluster", "1"],
    ]
    generation = (tables / "generation.csv").read_text().splitlines()
    assert generation[0] == GENERATION
    structural = [line for line in generation if ",structural," in line]
    assert len(structural) == 2 and all(line.endswith(",embedded") for line in structural)
    for name in ("representation", "generation", "augmentation", "ablation"):
        for kind in ("csv", "md", "tex"):
            assert (tables / f"{name}.{kind}").stat().st_size > 0
    for name in ("augmentation", "training", "samples", "features"):
        assert (finished / f"results/figures/tiny/{name}.png").read_bytes().startswith(b"\x89PNG")
    page = (finished / "results/report/tiny.html").read_text()
    assert "an untrained encoder sees no augmentation" in page


def test_numbers_of_the_table_are_those_of_the_runs(finished: Path) -> None:
    folder = finished / "results/runs/tiny/digits/random/none/base"
    values = [json.loads((folder / f"seed={seed}/probe.json").read_text()) for seed in (0, 1)]
    mean = sum(value["metrics"]["linear"]["top1"] for value in values) / 2
    table = (finished / "results/tables/tiny/representation.csv").read_text().splitlines()
    row = next(line for line in table if ",random," in line).split(",")
    assert float(row[5]) == pytest.approx(mean, abs=1e-6)


def test_every_run_holds_what_the_house_promises(finished: Path) -> None:
    for cell in json.loads((finished / "results/runs/tiny/plan.json").read_text())["cells"]:
        run = finished / cell["run"]
        names = ["config.json", "encoder.safetensors", "history.json", "env.json", "probe.json", "train.log"]
        if cell["method"] == "structural":
            names += ["generator.safetensors", "fidelity.json", "samples.png"]
        assert [name for name in names if not (run / name).exists()] == []
        assert json.loads((run / "probe.json").read_text())["identity"] == cell["identity"]


def test_a_finished_suite_plans_nothing_and_a_comment_changes_nothing(finished: Path) -> None:
    assert planned(finished) == {}
    loss = finished / "structgan/losses/cluster.py"
    before = loss.read_text()
    loss.write_text(before + "\n# a comment\n")
    try:
        assert planned(finished) == {}
    finally:
        loss.write_text(before)


def test_an_edited_loss_plans_exactly_the_runs_that_use_it(finished: Path, tmp_path: Path) -> None:
    tree = copy_of(finished, tmp_path)
    loss = tree / "structgan/losses/cluster.py"
    loss.write_text(loss.read_text() + "\nEDITED = True\n")
    counts = planned(tree)
    assert counts["train_generative"] == 2
    assert "train" not in counts


def test_a_changed_value_retrains_that_method_alone(finished: Path, tmp_path: Path) -> None:
    tree = copy_of(finished, tmp_path)
    changed = tree / "tests/tiny.yaml"
    changed.write_text(changed.read_text().replace("  simclr:\n", "  simclr:\n    training: {steps: 7}\n", 1))
    counts = planned(tree)
    assert counts["train"] == 1 and counts["probe"] == 1
    assert "train_generative" not in counts and "extractor" not in counts


def test_a_retriggered_run_publishes_its_outputs_again_without_training(finished: Path, tmp_path: Path) -> None:
    tree = copy_of(finished, tmp_path)
    run = "results/runs/tiny/digits/structural/none/full/seed=0"
    before = {name: (tree / run / name).read_bytes() for name in ("encoder.safetensors", "history.json")}
    (tree / run / "encoder.safetensors").unlink()
    done = snakemake(tree, "--", f"{run}/encoder.safetensors")
    assert done.returncode == 0, done.stderr
    assert "resumed at step 6" in (tree / run / "train.log").read_text()
    assert {name: (tree / run / name).read_bytes() for name in before} == before

    for path in (tree / run / "config.json", tree / "data/prepared/digits.safetensors"):
        path.touch()
    for variables, words in (
        ({}, "resumed at step 6"),
        ({"STRUCTGAN_FRESH": "1"}, "trained again from the first step"),
    ):
        done = snakemake(tree, "--forcerun", "train_generative", "--", f"{run}/encoder.safetensors", **variables)
        assert done.returncode == 0, done.stderr
        assert words in (tree / run / "train.log").read_text()
        assert {name: (tree / run / name).read_bytes() for name in before} == before


def test_the_pages_commands_make_a_run_again_when_pasted(finished: Path, tmp_path: Path) -> None:
    """First the Snakemake line, then the verbs one by one, each in a shell and where the run was taken away."""
    tree = copy_of(finished, tmp_path)
    page = (tree / "results/report/tiny.html").read_text()
    blocks = [html.unescape(block) for block in re.findall(r"<pre><code>(.*?)</code></pre>", page, re.DOTALL)]
    workflow, verbs = (block for block in blocks if "/random/none/" in block)
    folder = tree / "results/runs/tiny/digits/random/none/base/seed=0"
    whole = json.loads((folder / "probe.json").read_text())
    for command in (workflow, verbs):
        for path in folder.iterdir():
            if path.name != "config.json":
                path.unlink()
        done = subprocess.run(
            ["bash", "-ec", command], cwd=tree, env=surroundings(tree), capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        again = json.loads((folder / "probe.json").read_text())
        timed = {"seconds": 0, "checksums": {}}  # the checksum is of the seconds too
        assert {**again, **timed} == {**whole, **timed}
    assert json.loads((folder / "env.json").read_text())["identity"] == whole["identity"]


def test_edited_rules_overwrite_nothing(finished: Path, tmp_path: Path) -> None:
    """snakemake#3234: code and params, judged again inside each cluster job, had outputs of days overwritten."""
    tree = copy_of(finished, tmp_path)
    rules = tree / "workflow/rules/train.smk"
    text = rules.read_text()
    edited = text.replace("params:\n", "params:\n        added=1,\n").replace(
        "structgan train --run", "structgan train  --run"
    )
    assert edited != text and edited.count("added=1") == 1 and "train  --run" in edited
    rules.write_text(edited)
    bare = [sys.executable, "-m", "snakemake", "--dry-run", "--cores", "1", "--configfile", *TINY]

    def dry(*options: str) -> str:
        command = [*bare, *options, "--", "runs"]
        done = subprocess.run(command, cwd=tree, env=surroundings(tree), capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    assert "train" in dry("--workflow-profile", "none").split("Job stats:")[1], "Snakemake's own triggers would plan it"
    assert "Nothing to be done" in dry()
    assert planned(tree, "--", "runs") == {}
