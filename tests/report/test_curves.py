"""structgan.curves: the learning curves of a suite as one tidy frame, read through seals; and the curves in git."""

import json

import pandas as pd
import pytest
from synthetic_suite import Tree

import structgan
from structgan.report import tables

COLUMNS = ["dataset", "method", "augmentation", "variant", "seed", "step", "images", "gflops", "seconds", "top1", "run"]


def test_every_probe_is_a_row_and_an_untrained_run_has_none(tree: Tree) -> None:
    frame = structgan.curves(tree.write())
    assert list(frame) == COLUMNS and "random" not in set(frame["method"])
    assert len(frame) == 3 * (len(tree.runs) - 2)
    one = frame[(frame["method"] == "simclr") & (frame["augmentation"] == "crop") & (frame["seed"] == 1)]
    assert one[["step", "images", "gflops", "seconds"]].to_numpy().tolist() == [
        [10, 80, 20.0, 3.0],
        [20, 160, 40.0, 6.0],
        [39, 312, 78.0, 12.0],
    ]
    assert one["top1"].tolist() == pytest.approx([0.555 * step / (step + 5) for step in (10, 20, 39)])
    assert set(one["run"]) == {tree.config(tree["simclr/crop/base/1"])["identity"][:8]}


def test_it_is_written_beside_the_numbers(tree: Tree) -> None:
    tables.write(tree.write(), tree.tables)
    read = pd.read_csv(tree.tables / "curves.csv", dtype={"run": str})
    pd.testing.assert_frame_equal(read, structgan.curves(tree.plan_file))


@pytest.mark.parametrize("lost", ["missing", "edited"])
def test_a_run_without_a_whole_history_has_no_row(tree: Tree, lost: str) -> None:
    before = len(structgan.curves(tree.write()))
    file = tree.folder("simclr/none/base/0") / "history.json"
    if lost == "missing":
        file.unlink()
    else:
        content = json.loads(file.read_text())
        content["curve"][-1]["top1"] = 0.99
        file.write_text(json.dumps(content))
    frame = structgan.curves(tree.plan_file)
    assert len(frame) == before - 3 and 0.99 not in set(frame["top1"])


def test_a_suite_without_curves_is_an_empty_frame(tree: Tree) -> None:
    for run in tree.runs.values():
        run["env"] = None
    frame = structgan.curves(tree.write())
    assert frame.empty and list(frame) == COLUMNS


def test_the_losses_of_many_runs_are_thinned_to_a_file_for_git(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    for run in tree.runs.values():
        run["history"]["records"] = [{"step": step, "losses": {"energy": 1.0}} for step in range(1, 1004)]
    monkeypatch.setattr(tables, "LINES", 100)
    tables.write(tree.write(), tree.tables)
    steps = pd.read_csv(tree.tables / "training.csv")["step"].tolist()
    assert steps.count(1) == steps.count(1003) == len(tree.runs) and 60 < len(steps) <= 100 + len(tree.runs)
