"""One whole run of the DAG with real Snakemake: what it leaves, what is planned again, what is published again."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

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


def runs_of(tree: Path) -> list[dict[str, Any]]:
    """What the tiny suite's plan says of its runs."""
    (plan,) = (tree / "results/plans/tiny").glob("*.json")
    runs: list[dict[str, Any]] = json.loads(plan.read_text())["runs"]
    return runs


def test_numbers_of_the_table_are_those_of_the_runs(finished: Path) -> None:
    entries = [entry for entry in runs_of(finished) if entry["method"] == "random"]
    probes = [finished / entry["run"] / entry["evaluations"]["probe"] for entry in entries]
    values = [json.loads(path.read_text())["metrics"]["linear"]["top1"] for path in probes]
    table = (finished / "results/tables/tiny/representation.csv").read_text().splitlines()
    row = next(line for line in table if ",random," in line).split(",")
    assert len(values) == 2 and float(row[5]) == pytest.approx(sum(values) / 2, abs=1e-6)


def test_every_run_holds_what_the_house_promises(finished: Path) -> None:
    for entry in runs_of(finished):
        run = finished / entry["run"]
        names = ["config.json", "encoder.safetensors", "history.json", "env.json", "train.log"]
        names += [*entry["evaluations"].values(), *["generator.safetensors"] * (entry["method"] == "structural")]
        assert [name for name in names if not (run / name).exists()] == []
        assert json.loads((run / "env.json").read_text())["identity"] == entry["identity"]


def test_a_finished_suite_plans_nothing_and_is_whole(finished: Path) -> None:
    assert planned(finished) == {}
    command = [sys.executable, "-m", "structgan", "verify"]
    done = subprocess.run(
        command, cwd=finished, env=surroundings(finished), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout


def test_a_run_that_lost_its_outputs_publishes_them_again_and_a_deleted_one_is_trained(
    finished: Path, tmp_path: Path
) -> None:
    tree = copy_of(finished, tmp_path)
    (entry,) = (entry for entry in runs_of(tree) if entry["variant"] == "full")
    run = tree / entry["run"]
    before = {name: (run / name).read_bytes() for name in ("encoder.safetensors", "history.json")}
    (run / "encoder.safetensors").unlink()
    for words in ("resumed at step 6", ""):
        done = snakemake(tree, "--", f"{entry['run']}/encoder.safetensors")
        assert done.returncode == 0, done.stderr
        assert ("resumed" in (run / "train.log").read_text()) == bool(words)
        assert {name: (run / name).read_bytes() for name in before} == before
        shutil.rmtree(run)


def test_the_pages_commands_make_a_run_again_when_pasted(finished: Path, tmp_path: Path) -> None:
    """First the Snakemake line, then the verbs one by one, each in a shell and where the run was taken away."""
    tree = copy_of(finished, tmp_path)
    page = (tree / "results/report/tiny.html").read_text()
    blocks = [html.unescape(block) for block in re.findall(r"<pre><code>(.*?)</code></pre>", page, re.DOTALL)]
    workflow, verbs = (block for block in blocks if "/random/none/" in block)
    entry = next(entry for entry in runs_of(tree) if entry["method"] == "random" and entry["seed"] == 0)
    folder, probe = tree / entry["run"], entry["evaluations"]["probe"]
    whole = json.loads((folder / probe).read_text())
    for command in (workflow, verbs):
        for path in folder.iterdir():
            if path.name != "config.json":
                path.unlink()
        done = subprocess.run(
            ["bash", "-ec", command], cwd=tree, env=surroundings(tree), capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        again = json.loads((folder / probe).read_text())
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
