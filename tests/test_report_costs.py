"""Costs: what a run recorded, over its seeds; machines apart."""

from __future__ import annotations

import csv
import json
import math
from typing import Any

import pytest
from suite_tree import Tree

from structgan.report import costs, tables

CPU = {"device": "cpu", "threads": 1, "processes": 1, "versions": {"torch": "2.12.1", "numpy": "2.4"}}
CPU |= {"hardware": {"system": "Linux", "cpu": "A processor", "cores": 2, "gpu": None, "gpus": 0}}


def lines(tree: Tree, **options: Any) -> list[dict[str, str]]:
    tables.write(tree.plan_file, tree.tables, **options)
    with (tree.tables / "cost.csv").open() as file:
        return list(csv.DictReader(file))


def of(found: list[dict[str, str]], method: str) -> list[dict[str, str]]:
    return [
        line for line in found if (line["method"], line["augmentation"], line["variant"][:2]) == (method, "none", "ba")
    ]


def test_seconds_per_thousand_images_and_largest_memory(tree: Tree) -> None:
    for seed, (seconds, memory) in enumerate([(24.0, 500.0), (36.0, 900.5)]):
        change = {"seconds": seconds, "images": 1200, "peak_host_memory_mb": memory, "parameters": 1000 + seed}
        tree.edit(f"plain_gan/none/base/seed={seed}", "env.json", lambda value, change=change: value.update(change))
    (line,) = of(lines(tree), "plain_gan")
    speed = "seconds_per_thousand_images"
    assert [float(line[key]) for key in (f"{speed}_mean", f"{speed}_std")] == pytest.approx([25.0, 10 / math.sqrt(2)])
    assert float(line["relative"]) == pytest.approx(25.0 / (12000 / 312), rel=1e-6)
    names = ("runs", "seconds_mean", "images", "peak_host_memory_mb", "peak_gpu_memory_mb", "parameters", "feature_dim")
    assert [line[key] for key in names] == ["2", "30", "1200", "900.5", "", "1001", "64"]


def test_what_was_not_trained_has_no_speed(tree: Tree) -> None:
    for seed in (0, 1):
        tree.edit(f"random/none/base/seed={seed}", "env.json", lambda value: value.update(seconds=0.0, images=0))
    (line,) = of(lines(tree), "random")
    assert (line["seconds_per_thousand_images_mean"], line["relative"], line["seconds_mean"]) == ("", "", "0")
    assert "| Random encoder | none | base | 2 | — | — | — | 0.0 | 0 |" in (tree.tables / "cost.md").read_text()


def test_without_the_main_row_nothing_is_relative(tree: Tree) -> None:
    """Where a data set has no run of the main method, no row stands in for it."""
    plan = tree.plan
    plan["cells"] = [cell for cell in plan["cells"] if cell["method"] != "structural"]
    tree.plan_file.write_text(json.dumps(plan))
    found = lines(tree)
    assert found and {line["relative"] for line in found} == {""}


@pytest.mark.parametrize(
    "other",
    [
        {"hardware": {**CPU["hardware"], "cpu": "Another processor"}},
        {"hardware": {**CPU["hardware"], "gpu": "H100", "gpus": 1}, "device": "cuda"},
        {"threads": 4},
        {"processes": 2},
        {"versions": {"torch": "2.11.0"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_two_machines_never_share_a_block(tree: Tree, other: dict[str, Any]) -> None:
    for cell in tree.plan["cells"]:
        tree.edit(cell["run"].removeprefix("results/runs/demo/digits/"), "env.json", lambda value: value.update(CPU))
    assert {line["machine"] for line in lines(tree)} == {"1"}
    tree.edit("plain_gan/none/base/seed=1", "env.json", lambda value: value.update(other))
    one, two = of(lines(tree), "plain_gan")
    assert (one["machine"], one["runs"], two["machine"], two["runs"]) == ("1", "1", "2", "1")
    assert two["relative"] == "" != one["relative"]  # the main row has no run there
    text = (tree.tables / "cost.md").read_text()
    assert text.index("machine 1") < text.index("machine 2") and "do not compare" in text
    assert "Machine 1: cpu A processor, cores 2, device cpu, threads 1, processes 1, torch 2.12.1." in text


def test_what_says_nothing_of_a_machines_speed_does_not_part_it() -> None:
    assert costs.machine({**CPU, "versions": {"torch": "2.12.1", "numpy": "1"}}) == costs.machine(CPU)


def test_a_run_of_two_machines_is_a_machine_of_its_own() -> None:
    entries = [{**CPU, "steps": 5}, {**CPU, "steps": 5, "threads": 2}, {**CPU, "steps": 0, "threads": 9}]
    both = costs.machine({**CPU, "submissions": entries})
    assert both == f"{costs.machine(CPU)} + {costs.machine({**CPU, 'threads': 2})}"
    assert costs.machine({**CPU, "submissions": entries[:1]}) == costs.machine(CPU)


def test_a_training_of_another_identity_does_not_count(tree: Tree) -> None:
    tree.edit("plain_gan/none/base/seed=1", "env.json", lambda value: value.update(identity="old"))
    assert of(lines(tree), "plain_gan")[0]["runs"] == "1"
    assert of(lines(tree, include_stale=True), "plain_gan")[0]["runs"] == "1"
