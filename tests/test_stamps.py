"""File times follow identity: what is fresh lies behind its inputs, what is stale before them, whatever was touched."""

from __future__ import annotations

import json
import os
from pathlib import Path

import planned_tree
import pytest

from structgan import config, files, plan, sources

ROOT = Path("results/runs/demo")


@pytest.fixture
def made(demo, tmp_path, monkeypatch):
    """The demo planned and complete in the working directory, its inputs newer than everything made from them."""
    monkeypatch.chdir(tmp_path)
    found = planned_tree.demo(demo, tmp_path)
    for path in [*Path("data/prepared").iterdir(), *ROOT.rglob("config.json"), *ROOT.glob("protocol/*")]:
        os.utime(path, (path.stat().st_mtime + 1000,) * 2)
    return found


def time(path):
    return Path(path).stat().st_mtime


def outdated(cell):
    """The rules that Snakemake would run for a cell, by the times of its files."""
    run, names = Path(cell["run"]), {"train": "encoder.safetensors", "probe": "probe.json"}
    inputs = {
        "train": [run / "config.json", Path("data/prepared/digits.safetensors")],
        "probe": [ROOT / "protocol/probe.json", Path("data/prepared/digits.safetensors")],
    }
    return {rule for rule, name in names.items() if max(map(time, inputs[rule])) > time(run / name)}


def test_touched_inputs_of_finished_work_are_stamped_older_than_it(demo, made):
    assert all(outdated(cell) == {"train", "probe"} for cell in made["cells"])
    plan.write(demo, [str(planned_tree.DEMO)])
    assert all(outdated(cell) == set() for cell in made["cells"])
    data = Path("data/prepared/digits.safetensors")
    assert time("data/prepared/digits.json") < time(data) < time(ROOT / "digits/extractor.safetensors")
    assert time(ROOT / "protocol/extractor.json") < time(ROOT / "digits/extractor.safetensors")
    assert time(ROOT / "protocol/fidelity.json") < time(Path(made["cells"][0]["run"]) / "samples.png")
    stamped = {path: path.stat().st_mtime_ns for path in Path().rglob("[!.]*.*")}
    plan.write(demo, [str(planned_tree.DEMO)])
    assert {path: path.stat().st_mtime_ns for path in Path().rglob("[!.]*.*")} == stamped


def test_a_changed_protocol_outdates_what_it_measured_until_it_is_changed_back(demo, made):
    plan.write(demo, [str(planned_tree.DEMO)])
    plan.write(config.merge(demo, {"evaluation": {"knn": {"k": 7}}}), [str(planned_tree.DEMO)])
    assert all(outdated(cell) == {"probe"} for cell in made["cells"])
    assert time(ROOT / "protocol/fidelity.json") < time(Path(made["cells"][0]["run"]) / "fidelity.json")
    plan.write(demo, [str(planned_tree.DEMO)])
    assert all(outdated(cell) == set() for cell in made["cells"])


def test_the_half_that_was_measured_again_stays_and_the_other_half_is_outdated(demo, made):
    """Touched afterwards, so that times alone would tell nothing."""
    changed = config.merge(demo, {"evaluation": {"knn": {"k": 7}}})
    new = plan.write(changed, [str(planned_tree.DEMO)])
    half = new["cells"][::2]
    for cell in half:
        planned_tree.evaluate(Path(cell["run"]), cell, new)
    for path in [ROOT / "protocol/probe.json", *ROOT.rglob("probe.json")]:
        os.utime(path, (path.stat().st_mtime + 2000,) * 2)
    plan.write(changed, [str(planned_tree.DEMO)])
    assert [outdated(cell) for cell in new["cells"]] == [set() if cell in half else {"probe"} for cell in new["cells"]]


def test_runs_of_other_images_are_outdated_and_the_others_are_not(demo, made):
    plan.write(demo, [str(planned_tree.DEMO)])
    cell = made["cells"][0]
    env = Path(cell["run"]) / "env.json"
    env.write_text(json.dumps(files.read_json(env) | {"dataset": {"content_hash": "bb"}}))
    plan.write(demo, [str(planned_tree.DEMO)])
    assert "train" in outdated(cell) and all(outdated(other) == set() for other in made["cells"][1:])


def test_data_of_another_builder_or_other_settings_are_prepared_again(demo, made):
    plan.write(demo, [str(planned_tree.DEMO)])
    data, settings = Path("data/prepared/digits.safetensors"), Path("data/prepared/digits.json")
    assert time(settings) < time(data)
    assert files.read_json(settings)["sources"] == sources.builder_digest("digits")
    planned_tree.tensor(data, {"content_hash": "aa", "identity": "of another builder"})
    plan.write(demo, [str(planned_tree.DEMO)])
    assert time(settings) > time(data)
    # the same images again: nothing that was made from them is outdated
    planned_tree.tensor(data, {"content_hash": "aa", "identity": sources.fingerprint(files.read_json(settings))})
    plan.write(demo, [str(planned_tree.DEMO)])
    assert time(settings) < time(data) and all(outdated(cell) == set() for cell in made["cells"])
