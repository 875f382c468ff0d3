"""Runs that depend on one run, some trained with what it holds and some with what it held: what counts as done."""

from __future__ import annotations

import copy
import os
from pathlib import Path

import planned_tree
import pytest

from structgan import files, plan
from structgan.identity import stamps
from structgan.overview import status
from structgan.report import records

PLAN = Path("results/runs/demo/plan.json")


@pytest.fixture
def made(demo, tmp_path, monkeypatch):
    """A generator's run and two that learn from it, all complete; the first of the two had other weights of it."""
    monkeypatch.chdir(tmp_path)
    changed = copy.deepcopy(demo)
    regimes = ["none", "simclr"]
    changed["grid"] = [{"datasets": ["digits"], "methods": ["genrep"], "augmentations": regimes, "seeds": [0]}]
    found = plan.write(changed, [str(planned_tree.DEMO)])
    planned_tree.complete(tmp_path, found)
    generator, strayed, sound = (Path(cell["run"]) for cell in found["cells"])
    env = files.read_json(strayed / "env.json")
    env["upstream"]["files"] = {"generator.safetensors": "0" * 64}
    files.write_json(strayed / "env.json", env)
    return found, generator, strayed, sound


def test_status_and_tables_count_only_what_was_trained_with_what_is_there(made):
    cells = {Path(cell["run"]): told for cell, told in status.gather(PLAN).cells}
    _, generator, strayed, sound = made
    assert [cells[run].name for run in (generator, strayed, sound)] == ["done", "stale", "done"]
    assert "trained with other weights than" in cells[strayed].reason
    frame = records.read(PLAN).frame.set_index("run")["probe"]
    assert frame[[str(run) for run in (generator, strayed, sound)]].tolist() == ["finished", "stale", "finished"]


def test_times_follow_however_the_files_were_touched(made):
    found, generator, strayed, sound = made
    for run, when in ((generator, 1_700_000_500), (strayed, 1_700_000_300), (sound, 1_700_000_200)):
        for path in stamps.outputs(run):
            os.utime(path, (when, when))
    stamps.follow(found)
    times = {run: [path.stat().st_mtime for path in stamps.outputs(run)] for run in (generator, strayed, sound)}
    assert max(times[strayed]) < min(times[generator]) and max(times[generator]) < min(times[sound])
