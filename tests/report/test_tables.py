"""The tables: columns, means and deviations, what is best or tied, differences, published numbers, three formats."""

import csv
import json
import math
import re

import pytest
from refusal import refused
from synthetic_suite import SCORES, Tree, protocol

from structgan import arguments, provenance
from structgan.errors import UserError
from structgan.report import tables
from structgan.report.cells import Cell
from structgan.report.metrics import shown
from structgan.report.statistics import Statistic

LEAD = "dataset,method,augmentation,variant,seeds,"


def test_columns_are_the_same_in_every_suite(whole: Tree) -> None:
    head = {path.stem: path.read_text().splitlines()[0] for path in whole.tables.glob("*.csv")}
    means = "linear_mean,linear_std,svm_mean,svm_std,kmeans_mean,kmeans_std,knn_mean,knn_std"
    assert head["representation"] == LEAD + means
    assert head["generation"] == LEAD + "fid_mean,fid_std,is_mean,is_std,extractor"
    assert head["few_labels"] == LEAD + "linear_1pct_mean,linear_1pct_std,linear_10pct_mean,linear_10pct_std"
    words = "dataset,method,variant,none_mean,none_std,none_seeds,none_minus_simclr,crop_"
    assert head["augmentation"].startswith(words)
    assert head["ablation"].startswith(LEAD + "linear_mean,linear_std,linear_minus_full,kmeans_mean")


def test_mean_and_sample_deviation(tree: Tree) -> None:
    row = tree.rows("representation")["structural/none/full"]
    assert (row["seeds"], float(row["linear_mean"])) == ("2", pytest.approx(0.52))
    assert float(row["linear_std"]) == pytest.approx(0.04 / math.sqrt(2), rel=1e-6)  # ddof = 1: |a − b| / √2
    assert float(row["kmeans_mean"]) == pytest.approx(0.26)
    fid = tree.rows("generation")["plain_gan/none/base"]
    assert (float(fid["fid_mean"]), fid["extractor"]) == (25.5, "embedded")
    fid = tree.rows("generation")["simclr/none/base"]  # it cannot sample
    assert (fid["fid_mean"], fid["fid_std"], fid["extractor"]) == ("", "", "")
    assert re.search(r"SimCLR.*\| +— \| +— \|\n", tree.text("generation.md"))


def test_a_deviation_has_its_means_digits(tree: Tree) -> None:
    fid = tree.read().metric("fid")
    delta = shown(-0.002, fid, 0.01, "+")
    small = Cell(shown(0.0123, fid), statistic=Statistic(0.0123, 0.00456, 2), metric=fid, delta=delta)
    assert small.text == "0.0123 ± 0.0046 (−0.0020)"
    assert Cell(shown(12.3, fid), statistic=Statistic(12.3, 0.456, 2), metric=fid).text == "12.30 ± 0.46"


def test_best_and_tied_are_marked_and_labels_do_not_compete(tree: Tree) -> None:
    tree["simclr/none/base/0"]["probe"]["metrics"]["svm"]["converged"] = False
    text = tree.text("representation.md")
    cells = {row.group[1:3]: row.cells["linear"] for row in tree.made["representation"].rows}
    assert cells["structural", "crop"].strong and not cells["supervised", "none"].strong
    assert cells["simclr", "crop"].marks == "≈"  # 0.55 against 0.56, pooled 0.0112
    assert cells["simclr", "none"].marks == cells["structural", "crop"].marks == ""
    assert "**56.0 ± 1.4**" in text and "55.0 ± 0.7≈" in text and "Supervised (uses labels)" in text
    assert text.count("‡") == 2  # the svm that did not converge, and the note


def test_missing_partial_and_not_applicable(tree: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("simclr/none/base/1", "random/none/base/0", "random/none/base/1"):
        tree[name]["probe"] = None
    rows = tree.rows("representation")
    assert (rows["simclr/none/base"]["seeds"], rows["simclr/none/base"]["linear_mean"]) == ("1", "0.1")
    assert rows["simclr/none/base"]["linear_std"] == ""
    assert (rows["random/none/base"]["seeds"], rows["random/none/base"]["linear_mean"]) == ("0", "")
    assert not any(key.startswith("random/crop") for key in rows)
    text, other = tree.text("representation.md"), tree.text("augmentation.md")
    assert "— missing" in text and re.search(r"\| +1/2 \|", text) and "3 of 16 runs are not finished" in text
    assert "[1/2]" in other and re.search(r"\| +n/a \|", other)
    assert "n/a: Random encoder (base), augmentation crop: sees none" in text
    with pytest.raises(SystemExit, match="1"):
        arguments.finish(tree.read())
    assert "3 of 16 runs are not finished" in capsys.readouterr().err


def test_differences(tree: Tree) -> None:
    row = tree.rows("augmentation")["structural/full"]
    assert float(row["none_minus_simclr"]) == pytest.approx(0.52 - 0.11)
    assert float(row["crop_minus_simclr"]) == pytest.approx(0.01)
    ablation = tree.rows("ablation")
    assert set(ablation) == {"structural/none/full", "structural/none/no_cluster"}
    assert float(ablation["structural/none/no_cluster"]["linear_minus_full"]) == pytest.approx(0.41 - 0.52)
    assert ablation["structural/none/full"]["linear_minus_full"] == ""


def test_published_numbers_are_apart(whole: Tree) -> None:
    text = (whole.tables / "representation.md").read_text()
    assert text.index("another protocol") < text.index("solo-learn") and "90.7" in text
    assert "16.77" in (whole.tables / "generation.tex").read_text()
    assert "solo-learn" not in (whole.tables / "representation.csv").read_text()


def test_latex_is_ascii_and_balanced(whole: Tree) -> None:
    texts = {path.stem: path.read_text() for path in whole.tables.glob("*.tex")}
    assert r"without L\_cluster" in texts["ablation"] and r"$\pm$" in texts["ablation"]
    for name, text in texts.items():
        assert text.isascii() and text.count("{") == text.count("}") and f"tab:{name}" in text, name


def test_the_terminal_shows_one_table(whole: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    tables.show(whole.plan_file)
    out = capsys.readouterr().out
    assert "52.0 ± 2.8" in out and "Supervised (uses labels)" in out and "20.50 ± 0.71" in out and "—" in out


def test_the_terminal_shows_the_reference_beside_a_users_own(
    tree: Tree, whole: Tree, capsys: pytest.CaptureFixture[str]
) -> None:
    for run in tree.of("structural/none/full"):
        run["probe"]["metrics"]["linear"]["top1"] = 0.7
    plan, folder = tree.write(), tree.root / "results/reference/tables/demo"
    with refused("results/reference/tables/demo", "no such file"):
        tables.show(plan, against=True)
    tables.write(whole.plan_file, folder)
    tables.show(plan, against=True)
    lines = [re.split(" {2,}", line.strip()) for line in capsys.readouterr().out.splitlines()]
    at = next(n for n, line in enumerate(lines) if line[:3] == ["Structural GAN", "none", "full"])
    assert lines[at][3:5] == ["2", "70.0 ± 0.0"] and lines[at + 1][:3] == ["reference", "2", "52.0 ± 2.8"]
    (folder / "results.csv").write_text("structural,none\n")
    with refused("results.csv", "edited or damaged"):
        tables.show(plan, against=True)


def test_the_record_of_a_folder_names_its_files_and_an_older_plans_files_go(tree: Tree) -> None:
    tree.tables.mkdir(parents=True)
    (tree.tables / "gone.csv").write_text("x")
    (tree.tables / "kept.txt").write_text("a person's own")
    provenance.write_sealed(tree.tables / "made_from-00000000.json", {}, [tree.tables / "gone.csv"])
    written = {path.name for path in tables.write(tree.write(), tree.tables)}
    (made,) = tree.tables.glob("made_from*")
    record = provenance.read_sealed(made)
    assert made.stem == f"made_from-{tree.plan_file.stem}"
    assert set(record["checksums"]["files"]) == written - {made.name}
    assert written == {path.name for path in tree.tables.iterdir()} - {"kept.txt"} and len(written) == 11 * 3 + 5


def test_metrics_and_curves_for_version_control(tree: Tree) -> None:
    """Means of the finished seeds; histories thinned to their end."""
    tree["structural/none/full/0"]["probe"] = None
    losses = [{"step": step, "losses": {"energy": step / 7}} for step in range(1, 1004)]
    losses[5]["losses"]["rare"] = 1.0  # type: ignore[index]
    tree["structural/none/full/0"]["history"]["records"] = losses
    tables.write(tree.write(), tree.tables)
    found = json.loads((tree.tables / "metrics.json").read_text())["digits"]
    means = {key: sum(values) / len(values) for key, values in SCORES.items()} | {"structural/none/full": 0.54}
    for key, value in means.items():
        method, regime, variant = key.split("/")
        assert found[method][regime][variant]["linear"] == pytest.approx(value)
    assert found["structural"]["none"]["full"]["fid"] == 20.5 and "fid" not in found["simclr"]["none"]["base"]
    with (tree.tables / "training.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["run"] == "structural/none/full/seed=0"]
    assert 45 <= len(rows) <= 51 and (rows[0]["step"], rows[-1]["step"]) == ("1", "1003")
    assert all(float(row["value"]) == pytest.approx(int(row["step"]) / 7, rel=1e-5) for row in rows)
    assert {row["loss"] for row in rows} == {"energy"}


def dense(tree: Tree) -> None:
    tree.plan["evaluations"]["dense"] = protocol("dense")
    for at, run in enumerate(tree.runs.values()):
        scores = {"miou": 0.3 + 0.01 * at, "map": 0.1, "map50": 0.2, "miou_of_the_commonest_class": 0.08}
        fits = {"segmentation_fit": {"converged": at != 0}, "detection_fit": {"converged": True}}
        protocols = {"scenes": {"n_test": 200}}
        run["dense"] = {"metrics": {"scenes": scores | fits}, "protocol": protocols, "dataset": run["probe"]["dataset"]}
        if run["names"]["method"] == "random":
            run["dense"] |= {"reason": "it has none", "metrics": {}, "protocol": {}}


def test_dense_has_numbers_and_dashes_with_their_reason(tree: Tree) -> None:
    dense(tree)
    tree["simclr/none/base/0"]["dense"] = None
    rows = tree.rows("dense")
    assert rows["structural/none/full"]["scenes_miou_mean"] == "0.305"
    assert (rows["random/none/base"]["scenes_miou_mean"], rows["simclr/none/base"]["seeds"]) == ("", "1")
    text = tree.text("dense.md")
    assert "—: Random encoder: it has none." in text and "Missing: 1 of 16" in text and "‡" in text
    assert "mIoU of 8.0 %" in text and "scenes.n\\_test 200" in text
    page = tree.page()
    assert 'id="table-dense"' in page and 'id="table-transfer"' not in page and "Digit scenes: segmentation" in page
    tree["simclr/none/base/1"]["dense"]["protocol"]["scenes"]["n_test"] = 100
    with pytest.raises(UserError, match=r"protocols differ in 'scenes.n_test' \(200 against 100\)"):
        tree.rows("dense")


def test_transfer_has_columns_for_each_target(tree: Tree) -> None:
    tree.plan["evaluations"]["transfer"] = protocol("transfer")
    tree.plan["targets"] = {"more": {"title": "More digits", "note": ""}}
    for at, run in enumerate(tree.runs.values()):
        metrics = {"more": {"linear": {"top1": 0.5 + 0.01 * at, "converged": True}, "knn": {"top1": 0.4}}}
        run["transfer"] = {"metrics": metrics, "protocol": {"more": {"n_test": 9}}, "dataset": run["probe"]["dataset"]}
    row = tree.rows("transfer")["structural/none/full"]
    assert (row["seeds"], row["more_linear_mean"], row["more_knn_mean"]) == ("2", "0.505", "0.4")
    assert "to More digits: linear probe, top-1 %" in tree.text("transfer.md")
    assert "dense" not in tree.made
