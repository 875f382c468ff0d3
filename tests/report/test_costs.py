"""Costs: what a run recorded, over its seeds; machines apart."""

import math
import re
from typing import Any

import pytest
from synthetic_suite import Tree

from structgan.report.metrics import machine

HARDWARE = {"system": "Linux", "cpu": "A processor", "cores": 2, "gpu": None, "gpus": 0}
VERSIONS = {"torch": "2.12.1", "numpy": "2.4"}
CPU = {"device": "cpu", "threads": 1, "processes": 1, "versions": VERSIONS, "hardware": HARDWARE}
OTHERS = (
    {"hardware": {**HARDWARE, "cpu": "Another processor"}}, {"hardware": {**HARDWARE, "gpu": "H100", "gpus": 1}},
    {"device": "cuda"}, {"threads": 4}, {"processes": 2}, {"versions": {"torch": "2.11.0"}},
)  # fmt: skip


def lines(tree: Tree, method: str) -> list[dict[str, str]]:
    return [line for line in tree.table("cost") if (line["method"], line["augmentation"]) == (method, "none")]


def test_seconds_per_thousand_images_and_largest_memory(tree: Tree) -> None:
    for run, seconds, memory in zip(tree.of("plain_gan/none/base"), (24.0, 36.0), (500.0, 900.5), strict=True):
        run["env"] |= {"seconds": seconds, "images": 1200, "peak_host_memory_mb": memory, "parameters": int(memory)}
    (line,) = lines(tree, "plain_gan")
    speed = [float(line[f"seconds_per_thousand_images_{key}"]) for key in ("mean", "std")]
    assert speed == pytest.approx([25.0, 10 / math.sqrt(2)])
    assert float(line["relative"]) == pytest.approx(20.0 / (12000 / 312), rel=1e-6)  # of the fastest runs
    names = (
        "runs",
        "seconds_mean",
        "images",
        "gflops",
        "peak_host_memory_mb",
        "peak_gpu_memory_mb",
        "parameters",
        "feature_dim",
    )
    assert [line[key] for key in names] == ["2", "30", "1200", "78", "900.5", "", "900", "64"]


def test_what_was_not_trained_has_no_speed(tree: Tree) -> None:
    for run in tree.of("random/none/base"):
        run["env"] |= {"seconds": 0.0, "images": 0}
    (line,) = lines(tree, "random")
    assert (line["seconds_per_thousand_images_mean"], line["relative"], line["seconds_mean"]) == ("", "", "0")
    assert re.search(r"\| Random encoder +\| none +\| base +\| +2 \| +— \| +— \| +0.0 \|", tree.text("cost.md"))


def test_two_machines_never_share_a_block(tree: Tree) -> None:
    for run in tree.runs.values():
        run["env"] |= CPU
    assert {line["machine"] for line in tree.table("cost")} == {"1"}
    tree["plain_gan/none/base/1"]["env"] |= {"threads": 4}
    one, two = lines(tree, "plain_gan")
    assert (one["machine"], one["runs"], two["machine"], two["runs"]) == ("1", "1", "2", "1")
    assert two["relative"] == "" != one["relative"]  # the main row has no run there
    text = tree.text("cost.md")
    assert text.index("machine 1") < text.index("machine 2") and "do not compare" in text
    assert "Machine 1: cpu A processor, cores 2, device cpu, threads 1, processes 1, torch 2.12.1." in text
    frame = tree.read().frame
    assert frame[frame["evaluation"] == "training"]["protocol"].nunique() == 2


@pytest.mark.parametrize("other", OTHERS, ids=str)
def test_what_makes_another_machine(other: dict[str, Any]) -> None:
    assert machine(CPU | other) != machine(CPU)
    assert machine({**CPU, "versions": {"torch": "2.12.1", "numpy": "1"}}) == machine(CPU)  # not its other libraries
    entries = [{**CPU, "steps": 5}, {**CPU, **other, "steps": 5}, {**CPU, "steps": 0, "threads": 9}]
    assert machine({**CPU, "submissions": entries}) == f"{machine(CPU)} + {machine(CPU | other)}"
    assert machine({**CPU, "submissions": entries[:1]}) == machine(CPU)
