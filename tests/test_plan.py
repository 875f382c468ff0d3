"""The plan: each cell of the grid once, the grid of the paper, files that are written only where they change."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from structgan import config, plan, sources
from structgan.errors import UserError

DEMO = sources.ROOT / "workflow/config/demo.yaml"


def times(folder):
    return {path: path.stat().st_mtime_ns for path in Path(folder).rglob("*.json")}


def test_plan_is_written_only_where_its_content_changes(demo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = plan.write(demo, [str(DEMO)])
    first = times(tmp_path)
    assert len(first) == len(made["cells"]) + 5  # plan, three protocols, one data set's settings
    for cell in made["cells"]:
        run = json.loads((tmp_path / cell["run"] / "config.json").read_text())
        assert run["identity"] == cell["identity"] == sources.fingerprint({k: run[k] for k in run if k != "identity"})
        assert cell["run"] == "results/runs/demo/{dataset}/{method}/{augmentation}/{variant}/seed={seed}".format(**cell)
    plan.write(demo, [str(DEMO)])
    assert times(tmp_path) == first

    plan.write(config.merge(demo, {"methods": {"simclr": {"settings": {"temperature": 0.3}}}}), [str(DEMO)])
    touched = {str(path.relative_to(tmp_path)) for path, time in times(tmp_path).items() if time != first[path]}
    simclr = {f"{cell['run']}/config.json" for cell in made["cells"] if cell["method"] == "simclr"}
    assert touched == simclr | {"results/runs/demo/plan.json"}


def test_plan_survives_a_damaged_file(demo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = plan.write(demo, [str(DEMO)])
    victim = tmp_path / made["cells"][0]["run"] / "config.json"
    victim.write_text(victim.read_text()[:50])
    plan.write(demo, [str(DEMO)])
    assert json.loads(victim.read_text())["identity"] == made["cells"][0]["identity"]


def test_plan_of_the_paper(base):
    """3 data sets, 3 seeds: structural under 4 regimes, its 6 variants under one, 3 baselines under 4, random once."""
    made, runs = plan.make(base, [str(config.BASE)])
    cells = made["cells"]
    assert len(cells) == len(runs) == 3 * 3 * (4 + 6 + 3 * 4 + 1)
    assert len({cell["run"] for cell in cells}) == len({cell["identity"] for cell in cells}) == len(cells)
    assert {cell["dataset"] for cell in cells} == {"cifar10", "cifar100", "imagenet10"}
    assert {cell["seed"] for cell in cells} == {0, 1, 2}
    assert {cell["augmentation"] for cell in cells if cell["method"] == "random"} == {"none"}
    assert len(made["not_applicable"]) == 3 * 3 and all(row["reason"] for row in made["not_applicable"])
    assert list(made["augmentations"]) == ["none", "flip", "crop", "simclr"]
    assert made["methods"]["structural"]["kind"] == "method" and made["methods"]["structural"]["samples"]
    assert made["methods"]["supervised"]["uses_labels"] and made["methods"]["supervised"]["kind"] == "reference"
    assert not made["methods"]["simclr"]["samples"] and made["references"]


@pytest.mark.parametrize("gpus", [0, 1, 2, 3])
def test_gpus_change_no_identity_and_must_share_the_batch_evenly(base, gpus):
    more = config.merge(base, {"resources": {"train": {"gpu": gpus}}})
    if gpus == 3:
        with pytest.raises(UserError, match=r"resources\.train\.gpu = 3: must divide training\.batch_size = 512"):
            plan.make(more, [str(config.BASE)])
    else:
        made = [plan.make(settings, [])[0]["cells"] for settings in (base, more)]
        assert made[0] == made[1]


def test_grid_names_each_cell_once(base):
    block = {"datasets": ["digits"], "methods": ["random"], "augmentations": ["none"], "seeds": [0, 0, 1]}
    made, _ = plan.make({**base, "grid": [block, block]}, [])
    assert [cell["seed"] for cell in made["cells"]] == [0, 1]
