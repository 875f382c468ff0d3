"""The state of each cell and the screen that tells it, over a real plan with files as runs leave them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from pathlib import Path

import planned_tree
import pytest

from structgan import files, plan, provenance, sources, status


@pytest.fixture
def made(demo, tmp_path, monkeypatch):
    """The plan of the demo, ten runs, in the working directory; nothing has run."""
    monkeypatch.chdir(tmp_path)
    return plan.Plan(demo, [str(planned_tree.DEMO)]).write()


def gather():
    """The demo as it stands."""
    return status.gather(plan.newest("demo"))


def told(number=0):
    """State and reason of a run."""
    run = gather().runs[number][1]
    return run.name, run.reason


def test_an_untouched_plan_is_missing_and_a_complete_one_done(made, tmp_path):
    assert gather().counts() == {"missing": 10}
    planned_tree.complete(tmp_path, made)
    found = gather()
    assert found.counts() == {"done": 10} and found.projected == {} == found.unknown
    assert found.spent == {"CPU-hours": pytest.approx(10 / 60)}


def test_a_run_that_trains_shows_how_far_it_is_and_when_it_ends(made):
    cell = made["runs"][0]
    planned_tree.progress(Path(cell["run"]), cell, step=3, steps_per_second=0.5)
    screen = "\n".join(status.lines(gather()))
    assert "seed 0 running 50%, 0.5 steps/s, 6 s left" in screen and "1 running, 9 missing" in screen
    assert gather().spent == {"GPU-hours": pytest.approx(2 * 1800 / 3600)}


@pytest.fixture
def gone():
    """The number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_a_run_whose_process_is_gone_or_silent_is_interrupted(made, gone):
    cell = made["runs"][0]
    run, now = Path(cell["run"]), time.time()
    planned_tree.progress(run, cell, pid=gone)
    assert told() == ("interrupted", f"process {gone} is gone")
    planned_tree.progress(run, cell, pid=gone, host="elsewhere")
    assert told() == ("running", "")
    planned_tree.progress(run, cell, host="elsewhere", pid=7, updated=now - 3000)
    assert told() == ("interrupted", "progress.json is 50 min old, more than 15 (elsewhere, process 7)")
    planned_tree.progress(run, cell, updated=now - 3000, steps_per_second=0.001)  # logs every 2,000 s
    assert told() == ("running", "")
    planned_tree.progress(run, cell, state="stopped", reason="stopped by SIGTERM")
    assert told() == ("interrupted", "stopped by SIGTERM")


def test_a_failed_run_gives_its_reason(made):
    cell = made["runs"][0]
    run = Path(cell["run"])
    planned_tree.progress(run, cell, state="failed", reason="loss 'd' is nan at step 5")
    assert told() == ("failed", "loss 'd' is nan at step 5")
    (run / "progress.json").unlink()
    (run / "train.log").write_text("digits: 2/6 steps\nstructgan: digits.safetensors: no such file\n")
    assert told() == ("failed", "digits.safetensors: no such file")
    planned_tree.train(run, cell)
    probe, fidelity = cell["evaluations"].values()
    assert told() == ("trained", f"lacks {probe}, {fidelity}")
    (run / probe).with_suffix(".log").write_text("structgan: knn.k is 21\n")
    assert told() == ("failed", "knn.k is 21")
    planned_tree.evaluate(run, cell, made)
    assert told() == ("done", "")


def test_an_edited_or_swapped_file_is_damaged(made, tmp_path):
    planned_tree.complete(tmp_path, made)
    first, second = (Path(cell["run"]) for cell in made["runs"][:2])
    probe = made["runs"][0]["evaluations"]["probe"]
    before = (first / probe).read_bytes()
    for change in (
        lambda: files.write_json(first / probe, files.read_json(first / probe) | {"metrics": {"linear": {"top1": 1}}}),
        lambda: (first / probe).write_bytes((second / probe).read_bytes()),
        lambda: provenance.write_sealed(first / probe, files.read_json(first / probe) | {"identity": "0" * 64}),
    ):
        change()
        state, reason = told()
        assert state == "damaged" and reason.startswith(f"{first / probe}: ")
        (first / probe).write_bytes(before)
        assert told() == ("done", "")


def test_what_is_missing_is_projected_from_the_most_similar_runs(made):
    """Half of a run at 2 steps/s on two GPUs; the other seed at that speed; unmeasured methods are named."""
    cell = made["runs"][0]
    planned_tree.progress(Path(cell["run"]), cell, steps=6, step=3)
    found = gather()
    assert found.projected == {"GPU-hours": pytest.approx((3 + 6) / 2 / 3600 * 2)}
    assert found.unknown == {"plain_gan": 2, "simclr": 4}  # a random encoder takes no step
    screen = " ".join(status.lines(found))
    assert "no run of it was measured yet: plain_gan (2 runs), simclr (4 runs)" in re.sub(" +", " ", screen)


def test_the_queue_of_slurm_is_asked_where_there_is_one(made, tmp_path, monkeypatch):
    """A squeue that prints what Slurm's prints: state, folder and comment."""
    names = ["_".join([*(str(cell[key]) for key in provenance.NAMES), cell["identity"][:8]]) for cell in made["runs"]]
    rows = [f"PENDING|{tmp_path}|rule_train_wildcards_{names[0]}",
            f"RUNNING|{tmp_path}|rule_train_wildcards_{names[4]}",
            f"PENDING|{tmp_path}|rule_evaluate_{names[1]}_evaluate",
            f"RUNNING|{tmp_path}|rule_evaluate_{names[6]}_evaluate",
            f"PENDING|/elsewhere|rule_train_wildcards_{names[5]}"]  # fmt: skip
    tool = tmp_path / "bin/squeue"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\ncat <<'END'\n" + "\n".join(rows) + "\nEND\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")
    assert [told(0), told(4), told(5)] == [("queued", "training"), ("running", "training"), ("missing", "")]
    assert [told(1)[0], told(6)[0]] == ["queued", "running"]
    tool.write_text("#!/bin/sh\nexit 1\n")
    assert told(0) == ("missing", "")


def test_a_large_grid_fits_a_screen_and_keeps_what_needs_a_look(made):
    first = {**made["runs"][0], "evaluations": {}}
    cells = [{**first, "dataset": f"data{n // 200}", "augmentation": f"a{n % 200}", "run": f"{n}"} for n in range(5000)]
    large = {**made, "runs": cells}
    files.write_json(f"results/plans/demo/{sources.fingerprint(large)[:8]}.json", large)
    planned_tree.progress(Path("4321"), first, state="failed", reason="a reason " + "that is long " * 20)
    shown = status.lines(gather())
    assert len(shown) <= status.SCREEN + 10 and max(map(len, shown)) <= status.WIDTH
    assert any("failed: a reason that is long" in line for line in shown) and "1 failed, 4999 missing" in shown[0]
    assert len(status.lines(gather(), every=True)) >= 5000


def test_the_command_shows_every_suite_or_json(made, tmp_path, command, refusal):
    done = command("-m", "structgan", "status", cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.startswith("demo: 10 runs: 10 missing"), done.stderr
    found = json.loads(command("-m", "structgan", "status", "--plan", "demo", "--json", cwd=tmp_path).stdout)
    assert found["counts"] == {"missing": 10} and len(found["runs"]) == 10
    assert found["runs"][0]["run"] == made["runs"][0]["run"] and found["runs"][0]["left_s"] is None
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no suite is planned here" in refusal(command("-m", "structgan", "status", cwd=empty))
    files.write_json(tmp_path / "old.json", {"runs": []})
    line = refusal(command("-m", "structgan", "status", "--plan", tmp_path / "old.json", cwd=tmp_path))
    assert "not a plan of this version" in line


def test_looking_changes_nothing(made, tmp_path):
    planned_tree.complete(tmp_path, made)
    planned_tree.progress(Path(made["runs"][0]["run"]), made["runs"][0])
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    status.lines(gather())
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
