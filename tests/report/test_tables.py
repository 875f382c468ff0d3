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
from structgan.report import rows, tables
from structgan.report.cells import Cell
from structgan.report.metrics import shown
from structgan.report.results import Group
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
    delta = shown(-0.002, fid := tree.read().metric("fid"), 0.01, "+")
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


def test_a_terminal_shows_the_reference_too(tree: Tree, whole: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    for run in tree.of("structural/none/full"):
        run["probe"]["metrics"]["linear"]["top1"] = 0.7
    plan, folder = tree.write(), tree.root / "results/reference/tables/demo"
    with refused("results/reference/tables/demo", "no such file"):
        tables.show(plan, against=True)
    tables.write(whole.plan_file, folder)
    tables.show(plan, against=True)
    lines = [re.split(" {2,}", line.strip()) for line in capsys.readouterr().out.splitlines()]
    mine = next(n for n, line in enumerate(lines) if line[0].startswith("Structural GAN"))
    assert lines[mine][3:5] + lines[mine + 1][:3] == ["2", "70.0 ± 0.0", "reference", "2", "52.0 ± 2.8"]
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
    found = json.loads((tree.tables / "metrics.json").read_text())["digits_gradient"]
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


@pytest.mark.parametrize(
    ("curves", "marked"),
    [
        (([0.40, 0.42], [0.40, 0.405]), True),  # 1.25 points in the mean
        (([0.40, 0.41], [0.40, 0.41]), False),  # exactly 1 point
        (([0.10, 0.50, 0.505], [0.10, 0.50, 0.505]), False),  # not the doubling before
        (([0.2, 0.5], [0.5, 0.2]), False),
        (([0.4], [0.5]), False),
        (([], []), False),
    ],
)
def test_a_row_has_converged_if_the_last_doubling_gains_one_point_at_most(tree: Tree, curves, marked: bool) -> None:
    for run, top1 in zip(tree.of("plain_gan/none/base"), curves, strict=True):
        run["history"]["curve"] = [{"step": 2**at, "images": 8, "top1": value} for at, value in enumerate(top1)]
        run["env"]["curve_seconds"] = [1.0] * len(top1)
    assert rows.rising(tree.read(), Group("digits_gradient", "plain_gan", "none", "base")) == marked


def test_marks_of_a_row_and_their_footnotes_are_in_every_table(tree: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    for run in tree.of("simclr/crop/base"):
        run["probe"] |= {"encoder": {"parameters": 9000}, "feature_dim": 128}
    assert float(tree.rows("representation")["simclr/crop/base"]["linear_mean"]) == pytest.approx(0.55)
    notes = [
        "↗: not converged; the second half of its training still raises its curve by more than 1 point in the mean "
        "over seeds; Rise of the curve, in the table of statistics, says how sure that is.",
        "§: another encoder than the main row's. Structural GAN: 900 parameters, 64 features. SimCLR <b>&\"': 9,000 "
        "parameters, 128 features.",
    ]
    crop = {n: one for n, one in tree.made.items() if any(r.group[1:3] == ("simclr", "crop") for r in one.rows)}
    assert {"representation", "generation", "few_labels", "statistics", "comparisons", "cost"} <= set(crop)
    for name, table in [*crop.items(), ("augmentation", tree.made["augmentation"])]:
        assert list(table.footnotes) == notes and tree.text(f"{name}.md").count("- ↗: ") == 1, name
    assert list(tree.made["ablation"].footnotes) == notes[:1] and not tree.made["reproduction"].footnotes
    text = tree.text("representation.md")
    assert re.search(r"\| SimCLR[^|]*↗§ +\| crop ", text) and re.search(r"\| SimCLR[^|↗§]*\| none ", text)
    assert re.search(r"\| SimCLR.*55.0 ± 0.7≈↗§", tree.text("augmentation.md"))
    assert r"$\nearrow$\S{}" in tree.text("representation.tex")
    tables.show(tree.plan_file)
    out = capsys.readouterr().out
    assert all(note in out for note in notes)
    page = tree.page()
    assert page.count('<p class="footnote">↗') > 5 and '<span class="mark warn" title="not converged">↗</span>' in page


def test_a_table_without_content_is_one_sentence(tree: Tree) -> None:
    for run in tree.runs.values():
        run.pop("fidelity", None)
    tree.plan["references"] = []
    assert tree.rows("generation") == {} and tree.text("generation.md") == "# Generation\n\nNothing was measured.\n"
    tree.runs = {}
    assert '<p class="nothing" id="table-cost">Cost of training: No run is trained yet.</p>' in tree.page()
