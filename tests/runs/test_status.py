"""The state of each cell and the screen that tells it, over a real plan with files as runs leave them."""

import re
import subprocess
import time
from pathlib import Path

import planned_tree
import pytest
from refusal import refused

from structgan import config, files, plan, provenance, sources, status, why


@pytest.fixture
def made(demo, tmp_path, monkeypatch):
    """The plan of the demo, ten runs, in the working directory; nothing has run."""
    monkeypatch.chdir(tmp_path)
    return plan.Plan(demo, [str(planned_tree.DEMO)]).write()


def gather():
    """The demo's name and its runs as they stand."""
    return status.gather(plan.newest("demo"))


def told():
    """State and reason of the first run."""
    run = gather()[1][0]
    return run.name, run.reason


def test_an_untouched_plan_is_missing_and_a_complete_one_done(made, tmp_path):
    assert status.lines(*gather())[0] == "demo: 10 runs: 10 missing"
    planned_tree.complete(tmp_path, made)
    assert status.lines(*gather())[0] == "demo: 10 runs: 10 done"
    _, runs = gather()
    assert status.project(runs) == ({}, {}) and status.spent(runs) == {"CPU-hours": pytest.approx(10 / 60)}


def test_a_run_that_trains_shows_how_far_it_is_and_when_it_ends(made):
    cell = made["runs"][0]
    planned_tree.progress(Path(cell["run"]), cell, step=3, steps_per_second=0.5)
    screen = " ".join(" ".join(status.lines(*gather())).split())
    assert "seed 0 running 50%, 0.5 steps/s, 0:00:06 left" in screen and "1 running, 9 missing" in screen
    assert status.spent(gather()[1]) == {"GPU-hours": pytest.approx(2 * 1800 / 3600)}


def test_a_run_whose_process_is_gone_or_silent_is_interrupted(made):
    cell = made["runs"][0]
    run, now = Path(cell["run"]), time.time()
    process = subprocess.Popen(["true"])
    process.wait()
    gone = process.pid
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


def test_an_edited_file_is_damaged(made):
    cell = made["runs"][0]
    planned_tree.train(Path(cell["run"]), cell)
    planned_tree.evaluate(Path(cell["run"]), cell, made)
    probe = Path(cell["run"]) / cell["evaluations"]["probe"]
    files.write_json(probe, files.read_json(probe) | {"metrics": {"linear": {"top1": 1}}})
    assert told()[0] == "damaged" and told()[1].startswith(f"{probe}: ")


def test_what_is_missing_is_projected_from_the_most_similar_runs(made):
    """Half of a run at 2 steps/s on two GPUs; the other seed at that speed; unmeasured methods are named."""
    cell = made["runs"][0]
    planned_tree.progress(Path(cell["run"]), cell, steps=6, step=3)
    hours = {"GPU-hours": pytest.approx((3 + 6) / 2 / 3600 * 2)}
    assert status.project(gather()[1]) == (hours, {"plain_gan": 2, "simclr": 4})  # a random encoder takes no step
    screen = " ".join(status.lines(*gather()))
    assert "no run of it was measured yet: plain_gan (2 runs), simclr (4 runs)" in re.sub(" +", " ", screen)


def test_a_large_grid_fits_a_screen_and_keeps_what_needs_a_look(made):
    first = {**made["runs"][0], "evaluations": {}}
    cells = [{**first, "dataset": f"data{n // 40}", "augmentation": f"a{n % 40}", "run": f"{n}"} for n in range(1000)]
    large = {**made, "runs": cells}
    files.write_json(f"results/plans/demo/{sources.fingerprint(large)[:8]}.json", large)
    planned_tree.progress(Path("321"), first, state="failed", reason="a reason " + "that is long " * 20)
    shown = status.lines(*gather())
    assert len(shown) <= status.SCREEN + 10 and max(map(len, shown)) <= status.WIDTH
    assert any("failed: a reason that is long" in line for line in shown) and "1 failed, 999 missing" in shown[0]
    assert len(status.lines(*gather(), every=True)) >= 1000


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"methods": {"simclr": {"settings": {"temperature": 0.3}}}},
         "methods.simclr.settings.temperature 0.2 → 0.3: digits_gradient/simclr/none/base seeds 0, 1; digits_"),
        ({"methods": {"random": {"training": {"batch_size": 8}}}},
         "training.batch_size 16 → 8: digits_gradient/random/none/base seeds 0, 1"),
        ({"datasets": {"digits_gradient": {"test_size": 50}}},
         "datasets.digits_gradient.test_size 40 → 50: digits_gradient/structural/none/full"),
        ({"evaluation": {"knn": {"k": 5}}},
         "probe: evaluation.knn.k 20 → 5: digits_gradient/structural/none/full seeds 0, 1"),
        ({"grid": [
            {"datasets": ["digits_gradient"], "methods": ["random"], "augmentations": ["none"], "seeds": [0, 2, 3]}
         ]},
         "a new seed: digits_gradient/random/none/base seeds 2, 3"),
        ({"grid": [{"datasets": ["digits32"], "methods": ["random"], "augmentations": ["none"], "seeds": [0]}]},
         "no run of this row is finished: digits32/random/none/base seed 0"),
        ({"grid": [
            {"datasets": ["digits_gradient"], "methods": ["structural"], "augmentations": ["none"], "seeds": [0]}
         ]},
         "no run of variant base is finished; from full it differs by its name alone: digits_gradient/structural/"),
    ],
)  # fmt: skip
def test_why_a_run_is_planned(made, demo, tmp_path, changed, line):
    planned_tree.complete(tmp_path, made)
    assert why.lines(gather()[1], tmp_path) == []
    plan.Plan(config.merge(demo, changed), [str(planned_tree.DEMO)]).write()
    told = why.lines(gather()[1], tmp_path)
    assert " ".join(map(str.strip, told)).startswith(line) and sum(each[0] != " " for each in told) == 1


def test_why_a_run_is_planned_where_the_code_the_pictures_or_the_upstream_run_changed(tmp_path):
    first = {"dataset": "d", "method": "m", "augmentation": "a", "seed": 0, "data": "1", "sources": "x"}
    first["settings"] = {"training": {"steps": 5}, "dataset": {}, "method": {"a": [1], "b": 2}, "augmentation": {}}
    second = first | {"sources": "y", "settings": first["settings"] | {"method": {"a": [1, 2], "c": True}}}
    pair = []
    for number, content in enumerate((first, second)):
        files.write_json(tmp_path / f"{number}/config.json", provenance.identified(content))
        pair.append({**first, "method": "n", "upstream": {"run": f"{number}"}})
    words = ["a [1] → [1, 2]", "b 2 → nothing", "c nothing → true"]
    found = [*(f"methods.m.settings.{each}" for each in words), "the code of training or method"]
    for old, new in ((first, second), pair):
        assert why.shown([list(why.differences(old, new, tmp_path))]) == ", ".join(found)
    assert list(why.changes({"content": "1"}, {"content": "2"}, "datasets.d")) == ["the pictures of datasets.d"]


def test_the_command_shows_every_suite_and_changes_nothing(made, tmp_path, command):
    planned_tree.progress(Path(made["runs"][0]["run"]), made["runs"][0])
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    done = command("-m", "structgan", "status", "--why", cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.startswith("demo: 10 runs: 1 running, 9 missing"), done.stderr
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_what_is_no_plan_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with refused("no suite is planned here"):
        plan.suites()
    files.write_json("old.json", {"runs": []})
    with refused("old.json", "not a plan of this version"):
        status.gather(Path("old.json"))
