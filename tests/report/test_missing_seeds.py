"""A mean over fewer seeds than are planned says so, and neither wins nor is subtracted from one over others."""

import json
import re
from pathlib import Path

import pytest
from synthetic_suite import Tree, protocol

from structgan.report import results, tables, writers
from structgan.report.statistics import holm


def test_a_mean_over_fewer_seeds_than_its_row_says_how_many(tree: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    """Seeds of a row are those of its probe; here a measurement of samples is lost, and the probe is there."""
    tree["structural/none/no_cluster/1"]["fidelity"] = None
    text = tree.text("ablation.md")
    assert re.search(r"without L\\_cluster +\| +2 \|.*\| +20.00 \[1/2\] \|", text)
    tables.show(tree.plan_file)
    assert "20.00 [1/2]" in capsys.readouterr().out
    assert re.search(r"without L\\_cluster +\| +1/2 \| +20.00 \|", tree.text("generation.md"))


def test_a_number_that_a_finished_measurement_lacks_is_missing(tree: Tree) -> None:
    tree["plain_gan/none/base/1"]["probe"]["metrics"]["knn"]["top1"] = None
    (row,) = [row for row in tree.text("representation.md").splitlines() if row.startswith("| Plain GAN")]
    assert row.count("[1/2]") == 1


def test_the_best_is_one_of_which_every_seed_is_finished(tmp_path: Path) -> None:
    tree = Tree(tmp_path, {"structural/none/full": [0.5, 0.5], "simclr/none/base": [0.9, 0.2]})
    tree["simclr/none/base/1"]["probe"] = None
    text = tree.text("representation.md")
    assert "**50.0 ± 0.0**" not in text  # a column needs two rivals
    tree.add("plain_gan/none/base/0", 0.4)
    tree.add("plain_gan/none/base/1", 0.4)
    tree.made = {}
    assert "**50.0 ± 0.0**" in tree.text("representation.md") and "**90.0**" not in tree.text("representation.md")


def test_a_difference_is_of_means_over_the_same_seeds(tree: Tree) -> None:
    assert re.search(r"\([+−][\d.]+\)", tree.text("ablation.md"))
    tree["structural/none/full/0"]["probe"] = tree["structural/none/no_cluster/1"]["probe"] = None
    rows = tree.rows("ablation")
    assert rows["structural/none/no_cluster"]["linear_minus_full"] == ""
    assert rows["structural/none/no_cluster"]["fid_minus_full"] != ""


def test_a_test_that_could_not_be_made_is_counted(tree: Tree) -> None:
    """As one of p = 1."""
    tree["plain_gan/none/base/1"]["probe"] = None
    rows = [row for row in tree.table("comparisons") if row["metric"] == "linear" and row["variant"] == "base"]
    lost = [row["method"] for row in rows].index("plain_gan")
    assert len(rows) == 5 and rows[lost]["p"] == rows[lost]["p_holm"] == ""
    corrected = holm([float(row["p"] or 1) for row in rows])
    for at in {*range(5)} - {lost}:
        assert float(rows[at]["p_holm"]) == pytest.approx(corrected[at], rel=1e-6)


def test_a_failed_training_is_named_in_the_tables_notes(tree: Tree) -> None:
    for name in ("simclr/none/base/1", "random/none/base/0"):
        tree[name]["env"] = tree[name]["probe"] = None
    plan, said = tree.write(), "results/runs/…/seed=1: the features collapsed at step 40"
    (tree.folder("simclr/none/base/1") / "progress.json").write_text(json.dumps({"state": "failed", "reason": said}))
    text = writers.to_markdown(tables.build(results.read(plan))["representation"])
    assert "Missing: 2 of 16 runs are not finished" in text
    assert f"Failed: 1 of these, first {said} (structgan status lists them)." in text


def test_an_evaluation_of_which_every_job_failed_says_so_in_its_empty_table(tree: Tree) -> None:
    """The reason is in the job's log; without it a reader of the table would look for a mistake of their own."""
    tree.plan["evaluations"]["dense"] = protocol("dense")
    for run in tree.runs.values():
        run["dense"] = None
    plan, said = tree.write(), "data/raw/VOCdevkit: no such folder"
    planned = json.loads(plan.read_text())["runs"]
    for run in planned:
        log = (tree.root / run["run"] / run["evaluations"]["dense"]).with_suffix(".log")
        log.write_text(f"loading\nstructgan: {said}\n")
    table = tables.build(results.read(plan))["dense"]
    text, count = writers.to_markdown(table), len(planned)
    assert not table.rows and not table.silent
    assert f"Nothing was measured. Missing: {count} of {count} runs are not finished" in text
    assert f"Failed: {count} of these, first {said} (structgan status lists them)." in text
