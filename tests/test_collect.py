"""Deleting runs: which ones, that it asks, and that nothing that lives or is planned is touched."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

import planned_tree
import pytest

from structgan.identity import claims
from structgan.overview import collect

UNPLANNED = Path("results/runs/demo/digits/byol/none/base/seed=0")


@pytest.fixture
def made(demo, tmp_path, monkeypatch):
    """The demo complete, with one run that no plan names and one of another identity."""
    monkeypatch.chdir(tmp_path)
    found = planned_tree.demo(demo, tmp_path)
    while claims.held:
        claims.held.popitem()[1].close()
    shutil.copytree(found["cells"][0]["run"], UNPLANNED)
    stale = found["cells"][-1]
    planned_tree.train(Path(stale["run"]), stale, found, identity="old")
    yield found
    while claims.held:
        claims.held.popitem()[1].close()


def test_runs_in_no_plan_and_of_another_identity_are_found_with_their_size(made):
    found, used = collect.find()
    stale = Path(made["cells"][-1]["run"])
    assert {entry.folder: entry.reason for entry in found} == {
        UNPLANNED: "in no plan",
        stale: "results of another identity",
    }
    assert used == {}
    sizes = {entry.folder: entry.size for entry in found}
    assert sizes[UNPLANNED] == sum(path.stat().st_size for path in UNPLANNED.iterdir())
    assert f"2 runs, {sum(sizes.values()) / 1e6:.1f} MB" in collect.lines(found, used)


def test_a_run_that_is_being_retrained_under_its_planned_identity_stays(made):
    stale = made["cells"][-1]
    planned_tree.tensor(Path(stale["run"]) / "state.safetensors", {"identity": stale["identity"]})
    assert [entry.folder for entry in collect.find()[0]] == [UNPLANNED]


def test_nothing_is_deleted_without_an_answer_and_everything_found_with_yes(made, tmp_path, command, refusal):
    before = sorted(tmp_path.rglob("*"))
    line = refusal(command("-m", "structgan", "gc", cwd=tmp_path))
    assert "no terminal to ask on; nothing was deleted" in line
    assert [path for path in tmp_path.rglob("*") if path not in before and "claims" not in str(path)] == []
    done = command("-m", "structgan", "gc", "--yes", cwd=tmp_path)
    assert done.returncode == 0 and "2 runs deleted" in done.stdout, done.stderr
    assert not UNPLANNED.exists() and not UNPLANNED.parent.parent.parent.exists()
    assert not Path(made["cells"][-1]["run"]).exists()
    assert all(Path(cell["run"]).exists() for cell in made["cells"][:-1])
    assert list(Path("results/runs").glob(".*")) == []
    assert "nothing to delete" in command("-m", "structgan", "gc", "--yes", cwd=tmp_path).stdout


def test_a_run_that_lives_is_never_touched(made):
    """By its progress.json, though written long ago by this process; by its lock; and when it came to life since."""
    planned_tree.progress(UNPLANNED, made["cells"][0], updated=0)
    stale = Path(made["cells"][-1]["run"])
    found, used = collect.find()
    assert [entry.folder for entry in found] == [stale] and used == {UNPLANNED: "it is being trained"}
    with (stale / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert collect.delete(found) == 0 and stale.exists()
        assert collect.find()[1][stale] == "its lock is held"
    assert collect.delete(found) == 1 and not stale.exists()


def test_a_suite_in_use_is_left_alone(made, tmp_path, command):
    claims.claim("suite-demo")
    done = command("-m", "structgan", "gc", "--yes", cwd=tmp_path)
    assert done.returncode == 0 and "nothing to delete" in done.stdout, done.stderr
    assert done.stdout.count(f"its suite is in use by process {os.getpid()} on ") == 2 and UNPLANNED.exists()
