"""What version control compares: headline numbers and training curves, against the runs they are of."""

from __future__ import annotations

import csv
import json

import pytest
from suite_tree import SCORES

from structgan.identity import seal
from structgan.report import records, tables

RUN = "structural/none/full/seed=0"


def test_headline_numbers_are_the_means_of_the_finished_seeds(tree):
    tables.write(tree.plan_file, tree.tables)
    metrics = json.loads((tree.tables / "metrics.json").read_text())["digits"]
    found = {
        (method, regime, variant): values["linear"]
        for method, regimes in metrics.items()
        for regime, variants in regimes.items()
        for variant, values in variants.items()
    }
    assert found == {key: pytest.approx(sum(values) / len(values)) for key, values in SCORES.items()}
    assert metrics["structural"]["none"]["full"]["fid"] == pytest.approx(20.5)
    assert "fid" not in metrics["simclr"]["none"]["base"]


def test_a_stale_run_counts_neither_in_numbers_nor_in_curves(tree):
    tree.edit(RUN, "probe.json", lambda value: value.update(identity="of another day"))
    tables.write(tree.plan_file, tree.tables)
    metrics = json.loads((tree.tables / "metrics.json").read_text())
    assert metrics["digits"]["structural"]["none"]["full"]["linear"] == pytest.approx(
        SCORES["structural", "none", "full"][1]
    )
    text = (tree.tables / "training.csv").read_text()
    assert RUN not in text and RUN.replace("seed=0", "seed=1") in text


def test_curves_are_the_histories_thinned_to_their_end(tree):
    losses = [{"step": step, "images": step, "seconds": 1.0, "losses": {"energy": step / 7}} for step in range(1, 1004)]
    tree.edit(RUN, "history.json", lambda value: value.update(records=losses))
    tables.write(tree.plan_file, tree.tables)
    with (tree.tables / "training.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["run"] == RUN]
    assert 45 <= len(rows) <= 51 and rows[0]["step"] == "1" and rows[-1]["step"] == "1003"
    assert all(float(row["value"]) == pytest.approx(int(row["step"]) / 7, rel=1e-5) for row in rows)
    assert {row["loss"] for row in rows} == {"energy"}


def test_tables_say_what_they_were_made_from(tree):
    tables.write(tree.plan_file, tree.tables)
    record, problem = seal.read(tree.tables / "made_from.json")
    assert problem is None and not record["include_stale"]
    names = {path.name for path in tree.tables.iterdir()} - {"made_from.json"}
    assert set(record["checksums"]["files"]) == names
    assert record["checksums"]["inputs"] == {"results": records.results(records.read(tree.plan_file))}
    tree.edit(RUN, "probe.json", lambda value: value.update(seconds=1.5))
    assert record["checksums"]["inputs"] != {"results": records.results(records.read(tree.plan_file))}
