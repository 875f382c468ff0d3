"""Published numbers: compared only where the runs had all that they were measured under; null stays null."""

import dataclasses
from typing import Any

import pytest
from synthetic_suite import Tree

from structgan.evaluation import found
from structgan.report.metrics import Metric
from structgan.report.reproduction import ALWAYS, judge
from structgan.report.statistics import Statistic

FACTS = {
    **ALWAYS, "epochs": 993.28, "batch_size": 512, "split": "train→test", "n_train": 50000, "C": 1.0,
    "method.encoder.width": 64, "method.encoder.blocks": [2, 2, 2, 2],
}  # fmt: skip
OURS = {"method": "structural", "augmentation": "none", "variant": "full"}
REQUIRES = {
    "epochs": 1000, "batch_size": 512, "probe": "offline", "split": "train→test",
    "settings": {"method.encoder.width": 64, "method.encoder.blocks": [2, 2, 2, 2]},
}  # fmt: skip
MATCHING = {
    "epochs": 10, "batch_size": 6, "image_size": 16, "probe": "offline", "split": "train→test", "n_train": 600, "C": 1,
    "settings": {"method.encoder.width": 64, "method.encoder.blocks": [2, 2], "training.steps": 1000},
}  # fmt: skip
METRICS = {c.name: Metric(**dataclasses.asdict(c)) for name in ("probe", "fidelity") for c in found()[name].columns}


def row(value: float | None = 0.90, **changes: Any) -> dict[str, Any]:
    requires = {**REQUIRES, **changes.pop("requires", {})}
    tolerance = {"value": 1.0, "unit": "points"}
    published = {
        "dataset": "digits_gradient",
        "method": "theirs",
        "metric": "linear",
        "value": value,
        "source": "somewhere",
    }
    return {**published, "ours": OURS, "tolerance": tolerance, "requires": requires, **changes}


FID = {"metric": "fid", "tolerance": {"value": 5, "unit": "percent"}}


@pytest.mark.parametrize(
    ("published", "mean", "verdict", "reason"),
    [
        (row(), 0.905, "reproduced", "+0.5 from"),
        (row(), 0.89, "reproduced", "−1.0 from"),
        (row(), 0.9101, "not reproduced", "+1.0 from"),
        (row(), 0.70, "not reproduced", "−20.0 from"),
        (row(), None, "not run", "no finished run"),
        (row(None), 0.90, "no reference", "has not been entered"),
        (row(requires={"epochs": 200}), 0.90, "no reference", "another protocol: epochs 993.28, published with 200"),
        (row(requires={"probe": "online"}), None, "no reference", "probe offline, published with online"),
        (row(requires={"selection": "best"}), 0.90, "no reference", "selection last, published with best"),
        (row(requires={"k": 20}), 0.90, "no reference", "not recorded by our runs: k"),
        (row(requires={"probe": "online", "n_train": None}), 0.90, "no reference", "published with online"),
        (row(requires={"n_train": None}), None, "no reference", "not known of the published number: n_train"),
        (row(requires={"settings": {"method.encoder.width": 16}}), 0.90, "no reference", "method.encoder.width 64"),
        (row(requires={"settings": {"method.encoder.blocks": [1, 1]}}), 0.90, "no reference", "[1, 1]"),
        (row(20.0, **FID), 21.0, "reproduced", "+1.00"),
        (row(20.0, **FID), 21.1, "not reproduced", "+1.10"),
        (row(20.0, metric="fid", tolerance={"value": 2, "unit": "absolute"}), 18.0, "reproduced", "−2.00"),
    ],
)
def test_verdicts(published: dict[str, Any], mean: float | None, verdict: str, reason: str) -> None:
    statistic = None if mean is None else Statistic(mean, 0.01, 3)
    said = judge(published, METRICS[published["metric"]], statistic, FACTS)
    assert said[0] == verdict and reason in said[1]


def written(tree: Tree) -> dict[tuple[str, str, str], dict[str, str]]:
    return {(line["method"], line["metric"], line["augmentation"]): line for line in tree.table("reproduction")}


def test_every_data_set_method_and_metric_has_a_line(tree: Tree) -> None:
    lines = written(tree)
    methods = {run["names"]["method"] for run in tree.runs.values()}
    wanted = {(method, metric) for method in methods for metric in ("linear", "svm", "kmeans", "knn")}
    wanted |= {(method, metric) for method in ("structural", "plain_gan") for metric in ("fid", "is")}
    assert {key[:2] for key in lines} == wanted
    assert {line["verdict"] for line in lines.values()} == {"no reference"}


def test_a_run_that_had_it_all_is_judged_and_others_say_why_not(tree: Tree) -> None:
    generated = {"extractor": "embedded", "n_generated": 200, "reference": "train", "epochs": 10, "batch_size": 6}
    other = {"method": "simclr", "augmentation": "none", "variant": "other"}
    plain = {"method": "plain_gan", "augmentation": "none", "variant": "base"}
    tree.plan["references"] = [
        row(0.53, requires=MATCHING),
        row(0.53, requires={**MATCHING, "epochs": 200}, ours={**OURS, "augmentation": "crop"}),
        {**row(20.0, metric="fid", tolerance={"value": 10, "unit": "percent"}), "requires": generated},
        {**row(20.0, metric="is"), "requires": {**generated, "extractor": "inception"}},
        row(0.11, requires=MATCHING, ours=other),
        row(0.3, requires=MATCHING, ours=plain),
        row(0.5, requires=MATCHING, metric="knn", dataset="cifar10"),
    ]
    for run in tree.of("plain_gan/none/base"):
        run["probe"] = None
    lines = written(tree)
    linear, crop = lines["structural", "linear", "none"], lines["structural", "linear", "crop"]
    assert (linear["verdict"], linear["mean"], linear["reference"]) == ("reproduced", "0.52", "0.53")
    assert (linear["seeds"], linear["tolerance"], linear["source"]) == ("2", "0.01", "somewhere")
    assert crop["verdict"] == "no reference" and "epochs 10, published with 200" in crop["reason"]
    assert lines["structural", "fid", "none"]["verdict"] == "reproduced"
    assert "extractor embedded, published with inception" in lines["structural", "is", "none"]["reason"]
    assert lines["plain_gan", "linear", "none"]["verdict"] == lines["simclr", "linear", "none"]["verdict"] == "not run"
    assert "does not plan" in lines["simclr", "linear", "none"]["reason"]
    assert lines["structural", "knn", ""]["reason"] == "the published number is of cifar10"
    assert "**reproduced**" in tree.text("reproduction.md")


def test_the_papers_numbers_are_null_until_a_person_enters_them(tree: Tree) -> None:
    tree.plan |= {"references": [], "paper": [row(None, requires=MATCHING, table=None, entered_by=None)]}
    line = written(tree)["structural", "linear", "none"]
    assert (line["verdict"], line["reference"], line["mean"]) == ("no reference", "", "0.52")
    assert "1 of the paper's numbers" in tree.text("reproduction.md") and "theirs" not in tree.text("representation.md")
    tree.plan["paper"] = [row(0.60, requires=MATCHING, table="3", entered_by="a reader")]
    line = written(tree)["structural", "linear", "none"]
    assert (line["verdict"], line["reference"], line["source"]) == ("not reproduced", "0.6", "somewhere, table 3")
    assert "theirs" in tree.text("representation.md") and "60.0" in tree.text("representation.md")
