"""Deleting runs: which ones, that it asks, and that nothing that lives or is planned is touched."""

import fcntl
import shutil
from pathlib import Path

import planned_tree
import pytest
from refusal import refused

from structgan import cleanup, config, plan

UNPLANNED = Path("results/runs/digits_gradient/byol/none/base/seed=0/0123abcd")


@pytest.fixture
def made(demo, tmp_path, monkeypatch):
    """The demo complete, with one run that no plan names."""
    monkeypatch.chdir(tmp_path)
    found = planned_tree.demo(demo, tmp_path)
    shutil.copytree(found["runs"][0]["run"], UNPLANNED)
    return found


def test_runs_in_no_suites_newest_plan_are_found_with_their_size(made, demo):
    found, used = cleanup.unplanned()
    assert found == {UNPLANNED: sum(path.stat().st_size for path in UNPLANNED.iterdir())} and used == {}
    assert f"1 runs, {found[UNPLANNED] / 1e6:.1f} MB" in cleanup.lines(found, used)
    plan.Plan({**demo, "suite": "other"}).write()
    changed = config.merge(demo, {"methods": {"simclr": {"settings": {"temperature": 0.3}}}})
    plan.Plan(changed).write()
    assert cleanup.unplanned() == (found, {})  # the other suite names the old runs
    plan.Plan({**changed, "suite": "other"}).write()
    old = {Path(entry["run"]) for entry in made["runs"] if entry["method"] == "simclr"}
    assert cleanup.unplanned()[0].keys() == {UNPLANNED, *old}


def test_nothing_is_deleted_without_an_answer_and_everything_found_with_yes(made, tmp_path, command, refusal):
    before = sorted(tmp_path.rglob("*"))
    assert "nothing was deleted" in refusal(command("-m", "structgan", "gc", cwd=tmp_path))
    assert sorted(tmp_path.rglob("*")) == before
    done = command("-m", "structgan", "gc", "--yes", cwd=tmp_path)
    assert done.returncode == 0 and "1 runs deleted" in done.stdout, done.stderr
    assert not (tmp_path / "results/runs/digits_gradient/byol").exists()
    assert all(Path(entry["run"]).exists() for entry in made["runs"])
    assert list(Path("results/runs").glob(".*")) == [] and cleanup.unplanned() == ({}, {})


def test_a_named_run_is_deleted_and_nothing_else(made):
    first, second = (Path(entry["run"]) for entry in made["runs"][:2])
    cleanup.confirm_and_delete(*cleanup.named([first]), yes=True)
    assert not first.exists() and second.exists()
    with refused("results/runs: not the folder of a run"):
        cleanup.named([Path("results/runs")])


def test_a_run_that_lives_is_never_touched(made):
    """By its progress.json, though written long ago by this process; by its lock; and when it came to life since."""
    planned_tree.progress(UNPLANNED, made["runs"][0], updated=0)
    assert cleanup.unplanned() == ({}, {UNPLANNED: "it is being trained"})
    (UNPLANNED / "progress.json").unlink()
    found, _ = cleanup.unplanned()
    with (UNPLANNED / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert cleanup.delete(found) == 0 and UNPLANNED.exists()
        assert cleanup.unplanned() == ({}, {UNPLANNED: "its lock is held"})
    assert cleanup.delete(found) == 1 and not UNPLANNED.exists()


def test_nothing_is_collected_while_a_snakemake_works(made):
    lock = Path(".snakemake/locks/0.output.lock")
    lock.parent.mkdir(parents=True)
    lock.touch()
    with refused("a Snakemake works in this folder"):
        cleanup.unplanned()
