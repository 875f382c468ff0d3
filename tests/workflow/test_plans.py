"""What real Snakemake plans in a copy of the tree, what it refuses, and a baseline that a user adds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import planned_tree
import pytest
from workflow_tree import PARTS, ROOT, TINY, copy_tree, planned, snakemake, surroundings

FEWER = """
  - {datasets: [digits], methods: [mine], augmentations: [none, simclr], seeds: [0]}
  - {datasets: [digits], methods: [random], augmentations: [none], seeds: [0]}
"""
"""Of the example's grid, what a test can afford."""


@pytest.mark.parametrize(("limit", "processes"), [(2, 2), (1, 1)])
def test_training_takes_a_process_for_each_gpu(tmp_path: Path, limit: int, processes: int) -> None:
    """The command that Snakemake prints; it is itself run in test_distributed_runs."""
    tree = copy_tree(tmp_path)
    options = ("--set-resources", "train:gpu=2", "--resources", f"gpu={limit}", "--dry-run", "--printshellcmds")
    done = snakemake(tree, *options, "--", "runs")
    said = (done.stdout + done.stderr).splitlines()
    commands = [line for line in said if " structgan train " in line]
    start = "torchrun --standalone --nproc-per-node 2 " if processes == 2 else "python -m structgan train "
    assert commands and all(start in line for line in commands)


def test_the_papers_grid_is_planned(tmp_path: Path) -> None:
    counts = planned(copy_tree(tmp_path), configs=())
    # structural: 3 data sets x (4 regimes + 6 further variants) x 3 seeds; plain_gan: 3 x 4 x 3
    generative = 90 + 36
    # simclr and supervised: 3 x 4 x 3 each; random: no augmentation only
    assert counts["train"] == generative + 36 + 36 + 9
    transferred = counts["train"] * 2 // 3  # between CIFAR-10 and CIFAR-100
    assert counts["evaluate"] == counts["train"] + transferred
    assert counts["evaluate_samples"] == generative
    assert counts["prepare"] == 3


def test_a_seed_more_of_a_finished_grid_plans_its_own_jobs_alone(tmp_path: Path) -> None:
    tree, configs = copy_tree(tmp_path), (*TINY, "grid.yaml")

    def widen(seeds: list[int]) -> None:
        blocks = [
            f"{{datasets: [digits], methods: [structural], augmentations: [none], variants: [full], seeds: {seeds}}}",
            f"{{datasets: [digits], methods: [simclr], augmentations: [none, simclr], seeds: {seeds}}}",
        ]
        (tree / "grid.yaml").write_text(f"grid: [{', '.join(blocks)}]\n")

    widen(list(range(10)))
    assert planned(tree, "--", "runs", configs=configs)["evaluate"] == 30
    (plan,) = (tree / "results/plans/tiny").glob("*.json")
    planned_tree.complete(tree, json.loads(plan.read_text()))
    assert planned(tree, "--", "runs", configs=configs) == {}
    widen(list(range(11)))
    new = {"train": 3, "evaluate": 3, "evaluate_samples": 1}
    assert planned(tree, "--", "runs", configs=configs) == {**new, "runs": 1, "total": 8}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("training: {batch_sise: 3}\n", ["bad.yaml", "training.batch_sise", "'batch_size'"]),
        ("training: {batch_size: 1}\n", ["bad.yaml", "training.batch_size = 1", "at least 2"]),
        ("methods: {structural: {settings: {gaussian: {form: jds}}}}\n", ["gaussian.form", '"jds"', "jsd"]),
        ("methods: {simclr: {settings: {temprature: 1}}}\n", ["simclr.settings.temprature", "'temperature'"]),
        (
            "grid: [{datasets: [digts], methods: [random], augmentations: [none], seeds: [0]}]\n",
            ["data set 'digts'", "'digits'"],
        ),
        (
            "grid: [{datasets: [digits], methods: [simcrl], augmentations: [none], seeds: [0]}]\n",
            ["method 'simcrl'", "'simclr'"],
        ),
        (
            "grid: [{datasets: [digits], methods: [simclr], augmentations: [corp], seeds: [0]}]\n",
            ["augmentation 'corp'", "'crop'"],
        ),
        (
            "grid: [{datasets: [digits], methods: [structural], augmentations: [none], variants: [ful], seeds: [0]}]\n",
            ["variant 'ful'", "'full'"],
        ),
        ("suite: 'x; touch y'\n", ["suite", "x; touch y", "letters"]),
    ],
)
def test_bad_configuration_is_one_line_and_exit_code_2(tmp_path: Path, text: str, words: list[str]) -> None:
    tree = copy_tree(tmp_path)
    (tree / "bad.yaml").write_text(text)
    done = snakemake(tree, "--dry-run", configs=(*TINY, "bad.yaml"))
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if line.startswith("structgan:")]
    assert len(lines) == 1 and "Traceback" not in done.stderr
    for word in words:
        assert word in lines[0]
    assert not (tree / "results").exists()
    assert not (tree / "y").exists()


def test_the_conda_environment_has_the_pins_of_the_lock_file() -> None:
    lock = (ROOT / "requirements.lock").read_text().lower().replace("_", "-").splitlines()
    pins = [
        line.split("- ")[1] for line in (ROOT / "workflow/envs/structgan.yaml").read_text().splitlines() if "==" in line
    ]
    assert len(pins) > 10 and [pin for pin in pins if pin not in lock] == []


def test_the_example_of_the_baselines_readme_runs_from_data_to_table(tmp_path: Path) -> None:
    """As the page says: new, check, snakemake. Two files are new, both word for word the page's, and none is edited."""
    tree = copy_tree(tmp_path)

    def files() -> dict[str, str]:
        found = (path for part in PARTS for path in [tree / part, *(tree / part).rglob("*")] if path.is_file())
        return {str(path.relative_to(tree)): path.read_text() for path in found if path.suffix != ".pyc"}

    def structgan(*arguments: str) -> str:
        command = [sys.executable, "-m", "structgan", *arguments]
        done = subprocess.run(command, cwd=tree, env=surroundings(tree), capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    blocks = (tree / "baselines/README.md").read_text().split("```")
    example, block = (text.split("\n", 1)[1] for text in blocks if text.startswith(("python", "yaml")))
    before = files()
    structgan("new", "baseline", "mine")
    assert structgan("check", "mine").endswith("mine: keeps the contract\n")
    (tree / "fewer.yaml").write_text("grid:\n" + FEWER)
    done = snakemake(tree, configs=(*TINY, "workflow/config/mine.yaml", "fewer.yaml"))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    rows = [line.split(",")[1:3] for line in (tree / "results/tables/mine/representation.csv").read_text().splitlines()]
    assert sorted(rows[1:]) == [["mine", "none"], ["mine", "simclr"], ["random", "none"]]
    assert files() == before | {"baselines/mine.py": example, "workflow/config/mine.yaml": block}
