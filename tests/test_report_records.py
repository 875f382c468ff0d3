"""What the report reads: runs that are missing, stale or of another protocol, broken files; and all without torch."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from suite_tree import Tree

from structgan.errors import UserError
from structgan.report import records, tables


def test_imports_no_torch() -> None:
    code = (
        "import sys; from structgan.report import figures, page, tables, grids, charts, provenance; "
        "assert not {'torch', 'sklearn', 'torchvision'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_runs_are_found_from_any_working_directory(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tree.root / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert tree.rows("representation")["structural", "none", "full"]["seeds"] == "2"
    monkeypatch.chdir(tree.root / "results/runs")
    assert (records.read("demo/plan.json").frame["probe"] == "finished").all()


def test_missing_and_partial(tree: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    base = tree.root / "results/runs/demo/digits"
    (base / "simclr/none/base/seed=1/probe.json").unlink()
    for seed in (0, 1):
        (base / f"random/none/base/seed={seed}/probe.json").unlink()
    rows = tree.rows("representation")
    assert rows["simclr", "none", "base"]["seeds"] == "1" and rows["simclr", "none", "base"]["linear_mean"] == "0.1"
    assert rows["random", "none", "base"]["seeds"] == "0" and rows["random", "none", "base"]["linear_mean"] == ""
    text = (tree.tables / "representation.md").read_text()
    assert "— missing" in text and "| 1/2 |" in text and "3 of 16 runs are not finished" in text
    assert "3 of 16 runs are not finished" in capsys.readouterr().err


def test_stale_is_not_finished_unless_asked(tree: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    tree.edit("simclr/none/base/seed=0", "probe.json", lambda value: value.update(identity="old"))
    row = tree.rows("representation")["simclr", "none", "base"]
    assert (row["seeds"], row["linear_mean"]) == ("1", "0.12")
    assert "identity" in capsys.readouterr().err
    tables.write(tree.plan_file, tree.tables, include_stale=True)
    text = (tree.tables / "representation.md").read_text()
    assert "11.0 ± 1.4†" in text and "another configuration" in text


@pytest.mark.parametrize("key", ["protocol", "sources"])
def test_a_number_of_another_protocol_or_of_other_code_is_stale(tree: Tree, key: str) -> None:
    tree.edit("simclr/none/base/seed=0", "probe.json", lambda value: value["evaluation"].update({key: "old"}))
    row = tree.rows("representation")["simclr", "none", "base"]
    assert (row["seeds"], row["linear_mean"]) == ("1", "0.12")
    tables.write(tree.plan_file, tree.tables, include_stale=True)
    assert "11.0 ± 1.4†" in (tree.tables / "representation.md").read_text()
    tree.edit("plain_gan/none/base/seed=0", "fidelity.json", lambda value: value.pop("evaluation"))
    assert records.read(tree.plan_file).frame["fidelity"].tolist().count("stale") == 1


@pytest.mark.parametrize(
    ("file", "section", "key", "value"),
    [
        ("probe.json", "protocol", "linear", {"split": "train→test", "C": 0.01, "n_train": 600}),
        ("fidelity.json", "protocol", "extractor_sha256", "cc"),
        ("fidelity.json", "protocol", "n_generated", 100),
        ("fidelity.json", "protocol", "reference", "test"),
        ("fidelity.json", "protocol", "resizer", "bicubic"),
        ("probe.json", "dataset", "content_hash", "zz"),
    ],
)
def test_two_protocols_are_refused(tree: Tree, file: str, section: str, key: str, value: Any) -> None:
    tree.edit("plain_gan/none/base/seed=1", file, lambda entry: entry[section].update({key: value}))
    with pytest.raises(UserError) as error:
        tables.write(tree.plan_file, tree.tables)
    message = str(error.value)
    assert (
        "\n" not in message and key in message and "plain_gan/none/base/seed=1" in message and "structural/" in message
    )
    assert not tree.tables.exists()


def test_probe_and_fidelity_must_have_seen_the_same_data(tree: Tree) -> None:
    for run in [cell["run"] for cell in tree.plan["cells"] if cell["method"] in ("structural", "plain_gan")]:
        short = run.removeprefix("results/runs/demo/digits/")
        tree.edit(short, "fidelity.json", lambda entry: entry["dataset"].update(content_hash="other"))
    with pytest.raises(UserError, match="content_hash"):
        tables.write(tree.plan_file, tree.tables)


def test_broken_input_is_one_line(tree: Tree) -> None:
    (tree.root / "results/runs/demo/digits/simclr/none/base/seed=0/probe.json").write_text('{"identity": ')
    with pytest.raises(UserError, match="not valid JSON"):
        tables.write(tree.plan_file, tree.tables)
    del tree.plan["methods"]
    tree.save()
    with pytest.raises(UserError, match="'methods' is missing"):
        tables.write(tree.plan_file, tree.tables)
