"""One whole run of the DAG with real Snakemake: what it leaves, and what is made again."""

from __future__ import annotations

import html
import json
import re
import shutil
from pathlib import Path

import pytest
from tree import Tree

pytestmark = pytest.mark.xdist_group("whole run")
REPRESENTATION = (
    "dataset,method,augmentation,variant,seeds,linear_mean,linear_std,svm_mean,svm_std,"
    "kmeans_mean,kmeans_std,knn_mean,knn_std"
)
GENERATION = "dataset,method,augmentation,variant,seeds,fid_mean,fid_std,is_mean,is_std,extractor"


def test_one_command_goes_from_data_to_tables_figures_and_page(finished: Tree) -> None:
    tables = finished.root / "results/tables/tiny"
    header, *lines = (tables / "representation.csv").read_text().splitlines()
    assert header == REPRESENTATION
    assert sorted(line.split(",")[1:5] for line in lines) == [
        ["random", "none", "base", "2"],
        ["simclr", "simclr", "base", "1"],
        ["structural", "none", "full", "1"],
    ]
    header, *lines = (tables / "generation.csv").read_text().splitlines()
    assert header == GENERATION
    (structural,) = (line for line in lines if ",structural," in line)
    assert structural.endswith(",embedded")
    for name in ("representation", "generation", "augmentation"):
        for kind in ("csv", "md", "tex"):
            assert (tables / f"{name}.{kind}").stat().st_size > 0
    for name in ("augmentation", "training", "samples", "features"):
        assert (finished.root / f"results/figures/tiny/{name}.png").read_bytes().startswith(b"\x89PNG")
    assert "an untrained encoder sees no augmentation" in (finished.root / "results/report/tiny.html").read_text()


def test_numbers_of_the_table_are_those_of_the_runs(finished: Tree) -> None:
    entries = [entry for entry in finished.plan()["runs"] if entry["method"] == "random"]
    probes = [finished.root / entry["run"] / entry["evaluations"]["probe"] for entry in entries]
    values = [json.loads(path.read_text())["metrics"]["linear"]["top1"] for path in probes]
    table = (finished.root / "results/tables/tiny/representation.csv").read_text().splitlines()
    row = next(line for line in table if ",random," in line).split(",")
    assert len(values) == 2 and float(row[5]) == pytest.approx(sum(values) / 2, abs=1e-6)


def test_every_run_holds_what_the_design_promises(finished: Tree) -> None:
    for entry in finished.plan()["runs"]:
        run = finished.root / entry["run"]
        names = ["config.json", "encoder.safetensors", "history.json", "env.json", "train.log"]
        names += [*entry["evaluations"].values(), *["generator.safetensors"] * (entry["method"] == "structural")]
        assert [name for name in names if not (run / name).exists()] == []
        assert json.loads((run / "env.json").read_text())["identity"] == entry["identity"]


def test_a_finished_suite_plans_nothing_and_is_whole(finished: Tree) -> None:
    assert finished.planned() == {}
    code, said = finished.structgan("verify")
    assert code == 0 and said[-1].endswith("files verified"), said


@pytest.mark.slow
def test_a_run_that_lost_its_outputs_publishes_them_again_and_a_deleted_one_is_trained(
    finished: Tree, tmp_path: Path
) -> None:
    tree = finished.copied(tmp_path / "tree")
    (entry,) = (entry for entry in tree.plan()["runs"] if entry["variant"] == "full")
    run = tree.root / entry["run"]
    before = {name: (run / name).read_bytes() for name in ("encoder.safetensors", "history.json")}
    (run / "encoder.safetensors").unlink()
    for resumed in (True, False):
        tree.snakemake("--", f"{entry['run']}/encoder.safetensors")
        assert ("resumed at step 6" in (run / "train.log").read_text()) == resumed
        assert {name: (run / name).read_bytes() for name in before} == before
        shutil.rmtree(run)


@pytest.mark.slow
def test_the_pages_commands_make_a_run_again_when_pasted(finished: Tree, tmp_path: Path) -> None:
    """First the Snakemake line, then the verbs one by one, each in a shell and where the run was taken away."""
    tree = finished.copied(tmp_path / "tree")
    page = (tree.root / "results/report/tiny.html").read_text()
    blocks = [html.unescape(block) for block in re.findall(r"<pre><code>(.*?)</code></pre>", page, re.DOTALL)]
    workflow, verbs = (block for block in blocks if "/random/none/" in block)
    entry = next(entry for entry in tree.plan()["runs"] if entry["method"] == "random" and entry["seed"] == 0)
    folder, probe = tree.root / entry["run"], entry["evaluations"]["probe"]
    whole = json.loads((folder / probe).read_text())
    for command in (workflow, verbs):
        for path in folder.iterdir():
            if path.name != "config.json":
                path.unlink()
        tree.call("bash", "-ec", command)
        again = json.loads((folder / probe).read_text())
        timed = {"seconds": 0, "checksums": {}}  # the checksum is of the seconds too
        assert {**again, **timed} == {**whole, **timed}
    assert json.loads((folder / "env.json").read_text())["identity"] == whole["identity"]
