"""The plan: each run of the grid once, the grid of the paper, files that are pure functions of their paths."""

import json
from pathlib import Path

import pytest
from refusal import refused

from structgan import config, plan, provenance


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)


def contents():
    return {path: path.read_bytes() for path in Path().rglob("*.json")}


def test_what_is_written_is_named_by_its_content(demo, here):
    plan.Plan(demo).write()
    found = plan.read(plan.newest("demo"))
    assert len(contents()) == len(found["runs"]) + 5  # plan, three protocols, one data set's settings
    for entry in found["runs"]:
        read = provenance.read_config(Path(entry["run"]))
        assert read["identity"] == entry["identity"] and entry["run"] == provenance.run_path(read)
        assert Path(entry["data"]).with_suffix(".json").exists()
    for protocol in found["evaluations"].values():
        assert provenance.read_protocol(Path(provenance.protocol_path(protocol))) == protocol


def test_planning_again_writes_nothing_and_a_change_adds_files_and_changes_none(demo, here):
    """And the newest plan of a suite is the one that was made last."""
    made = plan.Plan(demo)
    made.write()
    first = contents()
    plan.Plan(demo).write()
    assert contents() == first
    changed = plan.Plan(config.merge(demo, {"methods": {"simclr": {"settings": {"temperature": 0.3}}}}))
    changed.write()
    both = contents()
    assert {path: both[path] for path in first} == first and str(plan.newest("demo")) == changed.path
    assert len(both) == len(first) + sum(run.method == "simclr" for run in changed.runs) + 1
    made.write()
    assert contents() == both and plan.suites() == [plan.newest("demo")] == [Path(made.path)]
    for name in ("dmo", "../plans/demo", "demo/", "."):
        with refused(f"unknown suite '{name}'", "demo"):
            plan.find(name)
    dotted = plan.Plan({**demo, "suite": "demo.json"})
    dotted.write()
    assert plan.find("demo.json") == plan.find(dotted.path) == Path(dotted.path)


def test_two_suites_share_their_runs(demo):
    one, other = (plan.Plan({**demo, "suite": name}).runs for name in ("one", "other"))
    assert [run.path for run in one] == [run.path for run in other]


def test_an_edited_plan_is_refused(demo, here):
    made = plan.Plan(demo)
    made.write()
    Path(made.path).write_text(json.dumps({**made.content, "runs": []}))
    with pytest.raises(provenance.Damaged, match="plan again"):
        plan.read(Path(made.path))
    made.write()
    assert plan.read(Path(made.path)) == made.content


def test_plan_of_the_paper(base):
    """3 data sets, 3 seeds: structural under 4 regimes, its 6 variants under one, 3 baselines under 4, random once."""
    made = plan.Plan(base, [str(config.BASE)]).content
    runs, methods = made["runs"], made["methods"]
    assert len(runs) == 3 * 3 * (4 + 6 + 3 * 4 + 1)
    assert len({run["run"] for run in runs}) == len({run["identity"] for run in runs}) == len(runs)
    assert {run["dataset"] for run in runs} == {"cifar10", "cifar100", "imagenet10"}
    assert {run["seed"] for run in runs} == {0, 1, 2}
    assert {run["augmentation"] for run in runs if run["method"] == "random"} == {"none"}
    assert len(made["not_applicable"]) == 3 * 3 and all(row["reason"] for row in made["not_applicable"])
    assert list(made["augmentations"]) == ["none", "flip", "crop", "simclr"]
    assert methods["structural"]["kind"] == "method" and methods["structural"]["samples"]
    assert methods["supervised"]["uses_labels"] and methods["supervised"]["kind"] == "reference"
    assert not methods["simclr"]["samples"] and made["references"]
    assert all(("fidelity" in run["evaluations"]) == methods[run["method"]]["samples"] for run in runs)


def test_augmentations_have_the_order_of_the_grid(base):
    block = {
        "datasets": ["digits_gradient"],
        "methods": ["simclr"],
        "augmentations": ["simclr", "none", "crop"],
        "seeds": [0],
    }
    assert list(plan.Plan({**base, "grid": [block]}).content["augmentations"]) == ["simclr", "none", "crop"]


def test_grid_names_each_run_once(base):
    block = {"datasets": ["digits_gradient"], "methods": ["random"], "augmentations": ["none"], "seeds": [0, 0, 1]}
    assert [run.seed for run in plan.Plan({**base, "grid": [block, block]}).runs] == [0, 1]
