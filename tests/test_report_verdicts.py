"""Verdicts: a number is compared only where the runs had all that it was measured under; null stays null."""

from __future__ import annotations

import csv
import json
from typing import Any

import pytest
from suite_tree import Tree

from structgan.report import cells, records, tables, verdicts

FACTS = {
    **verdicts.ALWAYS, "epochs": 993.28, "batch_size": 512, "split": "train→test", "n_train": 50000, "C": 1.0,
    "method.encoder.width": 64, "method.encoder.blocks": [2, 2, 2, 2],
}  # fmt: skip
OURS = {"method": "structural", "augmentation": "none", "variant": "full"}
REQUIRES = {
    "epochs": 1000, "batch_size": 512, "probe": "offline", "split": "train→test",
    "settings": {"method.encoder.width": 64, "method.encoder.blocks": [2, 2, 2, 2]},
}  # fmt: skip


def row(value: float | None = 0.90, **changes: Any) -> dict[str, Any]:
    requires = {**REQUIRES, **changes.pop("requires", {})}
    tolerance = {"value": 1.0, "unit": "points"}
    published = {"dataset": "digits", "method": "theirs", "metric": "linear", "value": value, "source": "somewhere"}
    return {**published, "ours": OURS, "tolerance": tolerance, "requires": requires, **changes}


@pytest.mark.parametrize(
    ("published", "mean", "verdict", "reason"),
    [
        (row(), 0.905, "reproduced", "+0.5 from the reference"),
        (row(), 0.89, "reproduced", "−1.0 from the reference"),
        (row(), 0.9101, "not reproduced", "+1.0 from the reference"),
        (row(), 0.70, "not reproduced", "−20.0 from the reference"),
        (row(), None, "not run", "no finished run"),
        (row(None), 0.90, "no reference", "has not been entered"),
        (row(None), None, "no reference", "has not been entered"),
        (row(requires={"epochs": 200}), 0.90, "no reference", "another protocol: epochs 993.28, the reference's 200"),
        (row(requires={"batch_size": 256}), 0.90, "no reference", "batch_size 512, the reference's 256"),
        (row(requires={"probe": "online"}), 0.90, "no reference", "probe offline, the reference's online"),
        (row(requires={"probe": "online"}), None, "no reference", "probe offline, the reference's online"),
        (row(requires={"selection": "best"}), 0.90, "no reference", "selection last, the reference's best"),
        (row(requires={"split": "test"}), 0.90, "no reference", "split train→test, the reference's test"),
        (row(requires={"k": 20}), 0.90, "no reference", "not recorded by our runs: k"),
        (
            row(requires={"probe": "online", "n_train": None}),
            0.90,
            "no reference",
            "probe offline, the reference's online",
        ),
        (row(requires={"n_train": None}), None, "no reference", "not known of the reference: n_train"),
        (row(requires={"n_train": None}), 0.90, "no reference", "not known of the reference: n_train"),
        (row(requires={"settings": {"method.encoder.width": 16}}), 0.90, "no reference", "method.encoder.width 64"),
        (row(requires={"settings": {"method.encoder.blocks": [1, 1]}}), 0.90, "no reference", "[1, 1]"),
        (row(20.0, metric="fid", tolerance={"value": 5, "unit": "percent"}), 21.0, "reproduced", "+1.00"),
        (row(20.0, metric="fid", tolerance={"value": 5, "unit": "percent"}), 21.1, "not reproduced", "+1.10"),
        (row(20.0, metric="fid", tolerance={"value": 2, "unit": "absolute"}), 18.0, "reproduced", "−2.00"),
    ],
)
def test_verdicts(published: dict[str, Any], mean: float | None, verdict: str, reason: str) -> None:
    statistic = None if mean is None else cells.Statistic(mean, 0.01, 3)
    found = verdicts.judge(published, statistic, FACTS)
    assert found[0] == verdict and reason in found[1]


def test_only_a_finished_run_of_another_protocol_is_known_to_be_one() -> None:
    """Before it is trained, what a run will have is not known: nothing but what holds for every suite rules it out."""
    assert verdicts.judge(row(), None, verdicts.ALWAYS)[0] == "not run"


def written(tree: Tree) -> dict[tuple[str, str, str], dict[str, str]]:
    tree.save()
    tables.write(tree.plan_file, tree.tables)
    with (tree.tables / "verdicts.csv").open() as file:
        return {(line["method"], line["metric"], line["augmentation"]): line for line in csv.DictReader(file)}


@pytest.fixture
def trained(tree: Tree) -> Tree:
    """Runs of 1,000 steps of 6 images on the tree's 600: 10 epochs of a network of width 64."""
    for cell in tree.plan["cells"]:
        settings = {
            "training": {"steps": 1000, "batch_size": 6}, "dataset": {"image_size": 16},
            "method": {"encoder": {"width": 64, "blocks": [2, 2]}},
        }  # fmt: skip
        content = {"identity": cell["identity"], "settings": settings}
        (tree.root / cell["run"] / "config.json").write_text(json.dumps(content))
    return tree


MATCHING = {
    "epochs": 10, "batch_size": 6, "image_size": 16, "probe": "offline", "split": "train→test", "n_train": 600, "C": 1,
    "settings": {"method.encoder.width": 64, "method.encoder.blocks": [2, 2], "training.steps": 1000},
}  # fmt: skip


def test_every_data_set_method_and_metric_has_a_line(tree: Tree) -> None:
    found = written(tree)
    assert {key[:2] for key in found} == {
        (method, metric)
        for method in ("structural", "simclr", "plain_gan", "random", "supervised")
        for metric in (
            "linear",
            "svm",
            "kmeans",
            "knn",
            *(("fid", "is") if method in ("structural", "plain_gan") else ()),
        )
    }
    assert {line["verdict"] for line in found.values()} == {"no reference"}
    assert {line["mean"] for line in found.values()} == {""}


def test_a_run_that_had_it_all_is_judged(trained: Tree) -> None:
    trained.plan["references"] = [
        row(0.53, requires=MATCHING),
        row(0.53, requires={**MATCHING, "epochs": 200}, ours={**OURS, "augmentation": "crop"}),
        row(20.0, metric="fid", tolerance={"value": 10, "unit": "percent"},
            requires={"extractor": "embedded", "n_generated": 200, "reference": "train", "epochs": 10, "batch_size": 6,
                      "settings": {"training.steps": 1000}}) | {"source": "elsewhere"},
        row(20.0, metric="is", requires={"extractor": "inception"}, tolerance={"value": 10, "unit": "percent"}),
    ]  # fmt: skip
    for entry in trained.plan["references"][2:]:
        for key in ("probe", "split"):
            del entry["requires"][key]
    found = written(trained)
    linear = found["structural", "linear", "none"]
    assert (linear["verdict"], linear["mean"], linear["reference"]) == ("reproduced", "0.52", "0.53")
    assert (linear["seeds"], linear["tolerance"], linear["source"]) == ("2", "0.01", "somewhere")
    crop = found["structural", "linear", "crop"]
    assert crop["verdict"] == "no reference" and "epochs 10, the reference's 200" in crop["reason"]
    assert found["structural", "fid", "none"]["verdict"] == "reproduced"
    assert "extractor embedded, the reference's inception" in found["structural", "is", "none"]["reason"]
    assert "| **reproduced** |" in (trained.tables / "verdicts.md").read_text()


def test_runs_that_are_missing_stale_or_not_planned_are_not_run(trained: Tree) -> None:
    other = {"method": "simclr", "augmentation": "none", "variant": "other"}
    trained.plan["references"] = [row(0.53, requires=MATCHING), row(0.11, requires=MATCHING, ours=other)]
    for seed in (0, 1):
        trained.edit(f"structural/none/full/seed={seed}", "probe.json", lambda value: value.update(identity="old"))
    found = written(trained)
    assert found["structural", "linear", "none"]["verdict"] == "not run"
    assert "today's plan" in found["structural", "linear", "none"]["reason"]
    assert found["simclr", "linear", "none"]["verdict"] == "not run"
    assert "does not plan" in found["simclr", "linear", "none"]["reason"]
    tables.write(trained.plan_file, trained.tables, include_stale=True)
    assert "**reproduced**" not in (trained.tables / "verdicts.md").read_text()


def test_settings_of_another_identity_are_no_facts(trained: Tree) -> None:
    trained.edit("structural/none/full/seed=0", "config.json", lambda value: value.update(identity="old"))
    trained.plan["references"] = [row(0.53, requires=MATCHING)]
    line = written(trained)["structural", "linear", "none"]
    assert line["verdict"] == "no reference" and "not recorded by our runs: epochs" in line["reason"]


def test_a_number_of_another_data_set_is_no_reference(trained: Tree) -> None:
    trained.plan["references"] = [row(0.53, requires=MATCHING, dataset="cifar10")]
    line = written(trained)["structural", "linear", ""]
    assert (line["verdict"], line["reason"]) == ("no reference", "the published number is of cifar10")


def test_the_papers_numbers_are_null_until_a_person_enters_them(trained: Tree) -> None:
    empty = {"table": None, "entered_by": None}
    trained.plan |= {"references": [], "paper": [row(None, requires=MATCHING, **empty)]}
    line = written(trained)["structural", "linear", "none"]
    assert (line["verdict"], line["reference"], line["mean"]) == ("no reference", "", "0.52")
    assert line["reason"] == "the paper's number has not been entered"
    text = (trained.tables / "verdicts.md").read_text()
    assert "1 of the paper's numbers" in text and "null until a person enters them" in text
    assert "theirs" not in (trained.tables / "representation.md").read_text()
    trained.plan["paper"] = [row(0.60, requires=MATCHING, table="3", entered_by="a reader")]
    line = written(trained)["structural", "linear", "none"]
    assert (line["verdict"], line["reference"], line["source"]) == ("not reproduced", "0.6", "somewhere, table 3")
    assert "| theirs | Linear probe, top-1 % | 60.0 |" in (trained.tables / "representation.md").read_text()


def test_facts_are_those_of_the_runs(trained: Tree) -> None:
    suite = records.read(trained.plan_file)
    facts = verdicts.facts_of(suite, records.Group("digits", "structural", "none", "full"), "fid")
    assert facts["epochs"] == 10 and facts["extractor"] == "embedded" and facts["n_generated"] == 200
    assert facts["method.encoder.width"] == 64 and facts["probe"] == "offline"
    assert verdicts.facts_of(suite, records.Group("digits", "structural", "flip", "full"), "fid") == verdicts.ALWAYS
