"""The tables: headers, means and deviations, what is best or tied, differences, references, three formats."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from suite_tree import Tree

from structgan.report import cells, layouts, markup, records, tables

LEAD = "dataset,method,augmentation,variant,seeds,"


def test_headers_are_exact(tree: Tree) -> None:
    tables.write(tree.plan_file, tree.tables)
    head = {path.stem: path.read_text().splitlines()[0] for path in tree.tables.glob("*.csv")}
    assert (
        head["representation"]
        == LEAD + "linear_mean,linear_std,svm_mean,svm_std,kmeans_mean,kmeans_std,knn_mean,knn_std"
    )
    assert head["generation"] == LEAD + "fid_mean,fid_std,is_mean,is_std,extractor"
    assert head["few_labels"] == LEAD + "linear_1pct_mean,linear_1pct_std,linear_10pct_mean,linear_10pct_std"
    assert head["augmentation"].startswith(
        "dataset,method,variant,none_mean,none_std,none_seeds,none_minus_simclr,crop_mean"
    )
    assert head["ablation"].startswith(LEAD + "linear_mean,linear_std,linear_minus_full,kmeans_mean")
    assert {path.suffix for path in tree.tables.iterdir()} == {".csv", ".md", ".tex", ".json"}
    assert len(list(tree.tables.iterdir())) == 36


def test_mean_and_sample_deviation(tree: Tree) -> None:
    row = tree.rows("representation")["structural", "none", "full"]
    assert row["seeds"] == "2"
    assert float(row["linear_mean"]) == pytest.approx(0.52)
    assert float(row["linear_std"]) == pytest.approx(0.04 / math.sqrt(2), rel=1e-6)  # ddof = 1: |a − b| / √2
    assert float(row["kmeans_mean"]) == pytest.approx(0.26)
    fid = tree.rows("generation")["plain_gan", "none", "base"]
    assert (float(fid["fid_mean"]), fid["extractor"]) == (pytest.approx(25.5), "embedded")


def test_a_deviation_has_its_means_digits() -> None:
    cell = cells.Cell(cells.Statistic(0.0123, 0.00456, 2), 2, "value", delta=-0.002)
    assert markup.words(cell, layouts.FID, True) == "0.0123 ± 0.0046 (−0.0020)"
    large = cells.Cell(cells.Statistic(12.3, 0.456, 2), 2, "value")
    assert markup.words(large, layouts.FID, True) == "12.30 ± 0.46"


def test_one_seed_has_no_deviation(tmp_path: Path) -> None:
    tree = Tree(tmp_path, {("structural", "none", "full"): [0.5]})
    row = tree.rows("representation")["structural", "none", "full"]
    assert (row["seeds"], row["linear_mean"], row["linear_std"]) == ("1", "0.5", "")


def test_pooled_deviation_and_ties() -> None:
    one, two = cells.summarise([1.0, 3.0]), cells.summarise([3.0, 4.0, 5.0])
    assert one is not None and two is not None
    assert cells.pooled_std(one, two) == pytest.approx(math.sqrt((1 * 2.0 + 2 * 1.0) / 3))
    assert not cells.tied(one, two)  # 2 apart, pooled 1.155
    assert cells.tied(cells.Statistic(3.0, 1.5, 2), two)
    assert not cells.tied(cells.Statistic(1.0, None, 1), cells.Statistic(1.001, None, 1))
    assert cells.summarise([math.nan]) is None


def test_best_and_tied_are_marked_and_labels_stand_apart(tree: Tree) -> None:
    table = layouts.build(records.read(tree.plan_file))["representation"]
    marks = {(row.keys["method"], row.keys["augmentation"]): row.cells["linear"] for row in table.rows}
    assert marks["structural", "crop"].best and not marks["supervised", "none"].best
    assert marks["simclr", "crop"].tied  # 0.55 against 0.56, pooled 0.0112
    assert not marks["simclr", "none"].tied
    text = (tables.write(tree.plan_file, tree.tables), (tree.tables / "representation.md").read_text())[1]
    assert "**56.0 ± 1.4**" in text and "55.0 ± 0.7≈" in text and "Supervised (uses labels)" in text
    assert "within one pooled standard deviation" in text


def test_no_sample_is_a_dash_and_empty_in_csv(tree: Tree) -> None:
    row = tree.rows("generation")["simclr", "none", "base"]
    assert (row["fid_mean"], row["fid_std"], row["extractor"]) == ("", "", "")
    line = next(line for line in (tree.tables / "generation.md").read_text().splitlines() if "SimCLR" in line)
    assert line.endswith("| — | — |")


def test_not_applicable_has_its_reason(tree: Tree) -> None:
    tables.write(tree.plan_file, tree.tables)
    for name in ("representation", "augmentation"):
        assert "n/a: Random encoder (base), augmentation crop: sees none" in (tree.tables / f"{name}.md").read_text()
    assert "| n/a |" in (tree.tables / "augmentation.md").read_text()
    assert not any(key[:2] == ("random", "crop") for key in tree.rows("representation"))


def test_differences(tree: Tree) -> None:
    row = tree.rows("augmentation")["structural", "", "full"]
    assert float(row["none_minus_simclr"]) == pytest.approx(0.52 - 0.11)
    assert float(row["crop_minus_simclr"]) == pytest.approx(0.01)
    ablation = tree.rows("ablation")
    assert set(ablation) == {("structural", "none", "full"), ("structural", "none", "no_cluster")}
    assert float(ablation["structural", "none", "no_cluster"]["linear_minus_full"]) == pytest.approx(0.41 - 0.52)


def test_references_stand_apart(tree: Tree) -> None:
    tables.write(tree.plan_file, tree.tables)
    text = (tree.tables / "representation.md").read_text()
    assert text.index("another protocol") < text.index("solo-learn") and "90.7" in text
    assert "Another protocol" in (tree.tables / "generation.tex").read_text()
    assert "solo-learn" not in (tree.tables / "representation.csv").read_text()


def test_tex_escapes(tree: Tree) -> None:
    tables.write(tree.plan_file, tree.tables)
    text = (tree.tables / "ablation.tex").read_text()
    assert r"without L\_cluster" in text and r"$\pm$" in text
    body = re.sub(r"\\.|%.*?\n", "", text, count=0)
    assert "&" in body and "±" not in text and body.count("{") == body.count("}")


def test_summary_is_printed(tree: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    tables.write(tree.plan_file, tree.tables)
    tables.print_summary(tree.plan_file, tree.tables)
    out = capsys.readouterr().out
    assert "52.0 ± 2.8" in out and "Supervised (labels)" in out and "20.50 ± 0.71" in out and "—" in out
