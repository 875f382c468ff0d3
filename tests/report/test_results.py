"""results.load: one tidy frame of every number, read through seals."""

import dataclasses
import json
from typing import Any

import pandas as pd
import pytest
from synthetic_suite import DATA, Tree, protocol

from structgan import evaluation
from structgan.errors import UserError
from structgan.report import means, results, tables, writers
from structgan.report.results import Group

COLUMNS = ["dataset", "method", "augmentation", "variant", "seed", "evaluation", "metric", "value", "unit", "state"]
COLUMNS += ["protocol", "run"]


def chosen(frame: pd.DataFrame, **equal: Any) -> pd.DataFrame:
    return frame.loc[(frame[list(equal)] == pd.Series(equal)).all(axis=1)]


def test_every_number_is_a_row(tree: Tree) -> None:
    frame = results.load(tree.write())
    assert list(frame) == COLUMNS and set(frame["state"]) == {"finished"}
    full = chosen(frame, method="structural", augmentation="none", variant="full", seed=1)
    (row,) = chosen(full, metric="fid").to_dict("records")
    identity = tree.config(tree["structural/none/full/1"])["identity"]
    assert (row["value"], row["unit"], row["evaluation"]) == (21.0, "", "fidelity")
    assert (row["protocol"], row["run"]) == (protocol("fidelity")["identity"][:8], identity[:8])
    assert chosen(frame, metric="linear")["value"].tolist()[:2] == [0.50, 0.54]
    assert set(chosen(frame, metric="linear")["unit"]) == {"fraction"}
    assert set(chosen(frame, evaluation="training")["metric"]) >= {"seconds", "peak_host_memory_mb", "parameters"}
    assert {"linear_1pct", "linear_10pct"} <= set(frame["metric"])
    assert chosen(frame, method="simclr", evaluation="fidelity").empty


def test_a_suites_name_is_its_newest_plan(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree.root)
    file = tree.write()
    pd.testing.assert_frame_equal(results.load("demo"), results.load(file))
    with pytest.raises(UserError, match="demo"):
        results.load("dmeo")


def test_missing_results_are_rows_without_a_value_also_in_the_file(tree: Tree) -> None:
    tree["simclr/none/base/1"]["probe"] = None
    tree["plain_gan/none/base/0"].update(env=None, probe=None, fidelity=None)
    tables.write(tree.write(), tree.tables)
    frame = results.load(tree.plan_file)
    missing = chosen(frame, state="missing")
    assert missing["value"].isna().all() and set(missing["method"]) == {"simclr", "plain_gan"}
    assert {"linear", "linear_1pct"} <= set(chosen(missing, method="simclr")["metric"])
    assert {"fid", "seconds"} <= set(chosen(missing, method="plain_gan")["metric"])
    kept = dict.fromkeys(("unit", "protocol", "run"), str)
    read = pd.read_csv(tree.tables / "results.csv", dtype=kept, keep_default_na=False, na_values={"value": [""]})
    pd.testing.assert_frame_equal(read, frame, check_dtype=False)


@pytest.mark.parametrize("file", ["config.json", "env.json", "history.json", "map-*.json", "probe-*.json"])
def test_an_edited_file_is_marked_and_not_counted(tree: Tree, file: str) -> None:
    """One seed's, then both: an edited configuration or env.json spoils the whole run."""
    plan, whole = tree.write(), results.load(tree.plan_file)
    evaluation = "training" if file == "history.json" else "probe"
    for seed, words in (("0", "12.0"), ("1", "— damaged")):
        (path,) = tree.folder(f"simclr/none/base/{seed}").glob(file)
        path.write_text(json.dumps(json.loads(path.read_text()) | {"note": "edited"}))
        suite = results.read(plan)
        hurt = chosen(suite.frame, method="simclr", augmentation="none", seed=int(seed), evaluation=evaluation)
        assert set(hurt["state"]) == {"damaged"} and hurt["value"].isna().all()
        assert suite.frame["value"].count() == len(suite.frame.merge(whole.dropna(subset="value"), on=list(whole)))
        if evaluation == "probe":
            cell = means.mean(suite, Group("digits_gradient", "simclr", "none", "base"), suite.metric("linear"))
            assert cell.words == words and (cell.marks == "†") == (seed == "0")
            assert "†: damaged files are not counted" in writers.to_markdown(tables.build(suite)["representation"])


def test_an_edited_plan_is_refused(tree: Tree) -> None:
    plan = tree.write()
    plan.write_text(plan.read_text().replace("Demo", "Dome"))
    with pytest.raises(UserError, match=f"{plan.name}: edited"):
        tables.write(plan, tree.tables)
    assert not tree.tables.exists()


@pytest.mark.parametrize(
    ("name", "section", "key", "value", "runs"),
    [
        ("probe", "protocol", "linear", {"split": "train→test", "C": 0.01, "n_train": 600}, "plain_gan/none/base"),
        ("fidelity", "protocol", "extractor_sha256", "cc", "plain_gan/none/base"),
        ("probe", "dataset", "content_hash", "zz", "plain_gan/none/base"),
        ("fidelity", "dataset", "content_hash", "that of the probes is another", ""),
    ],
)
def test_two_protocols_are_refused(tree: Tree, name: str, section: str, key: str, value: Any, runs: str) -> None:
    for path, run in tree.runs.items():
        if path.startswith(runs) and name in run:
            run[name] = {**run[name], section: {**run[name][section], key: value}}
    with pytest.raises(UserError) as error:
        tables.write(tree.write(), tree.tables)
    message = str(error.value)
    assert key in message and f"{runs}/seed=" in message and "structural/" in message
    assert "\n" not in message and not tree.tables.exists()


def test_a_new_metric_needs_no_edit(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes from its evaluation's COLUMNS and is in results.csv and in its evaluation's table."""
    found, new = evaluation.found(), evaluation.Column("nmi", "kmeans.nmi", "k-means, NMI", better="higher", digits=3)
    known = {**found, "probe": dataclasses.replace(found["probe"], columns=(*found["probe"].columns, new))}
    monkeypatch.setattr(evaluation, "found", lambda: known)
    assert tree.rows("representation")["structural/none/full"]["nmi_mean"] == "0.2"
    assert len(chosen(results.load(tree.plan_file), metric="nmi")) == len(tree.runs)
    assert "k-means, NMI ↑" in tree.text("representation.md") and "0.200" in tree.text("representation.md")


def test_a_new_evaluation_gets_a_table_of_its_own(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    column = evaluation.Column("ece_*", "*.ece", "Calibration error of *", unit="%", better="lower")
    known = {**evaluation.found(), "calibration": evaluation.Evaluation("calibration", (column,), ("calibration",))}
    monkeypatch.setattr(evaluation, "found", lambda: known)
    content = {"evaluation": "calibration", "settings": {}, "sources": "", "identity": "12345678" * 8}
    tree.plan["evaluations"]["calibration"] = content
    for seed, value in enumerate((0.1, 0.3)):
        record = {"metrics": {"linear": {"ece": value}}, "protocol": {"bins": 15}, "dataset": DATA}
        tree[f"simclr/none/base/{seed}"]["calibration"] = record
    (row,) = tree.table("calibration")
    assert (row["method"], row["seeds"], float(row["ece_linear_mean"])) == ("simclr", "2", pytest.approx(0.2))
    assert "Calibration error of linear" in tree.text("calibration.md") and "bins 15" in tree.text("calibration.md")
