"""The DAG with real Snakemake, in a copy of the tree: one whole run, what is planned again, bad input."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("Snakefile", "profiles", "structgan", "baselines", "workflow", "tests/tiny.yaml", "pyproject.toml")
TINY = ("workflow/config/demo.yaml", "tests/tiny.yaml")
REPRESENTATION = (
    "dataset,method,augmentation,variant,seeds,linear_mean,linear_std,svm_mean,svm_std,"
    "kmeans_mean,kmeans_std,knn_mean,knn_std"
)
GENERATION = "dataset,method,augmentation,variant,seeds,fid_mean,fid_std,is_mean,is_std,extractor"


def copy_tree(target: Path) -> Path:
    for part in PARTS:
        source, copy = ROOT / part, target / part
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, copy)
    return target


def surroundings(tree: Path, **variables: str) -> dict[str, str]:
    """The environment of a command on the copy of the tree."""
    return os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(tree),
        "XDG_CACHE_HOME": str(tree / ".cache"),
        **variables,
    }


def snakemake(
    tree: Path, *arguments: str, configs: tuple[str, ...] = TINY, **variables: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "snakemake", "--profile", "workflow/profiles/local", "--cores", "2"]
    command += ["--configfile", *configs] if configs else []
    return subprocess.run(
        [*command, *arguments],
        cwd=tree,
        env=surroundings(tree, **variables),
        capture_output=True,
        text=True,
        timeout=900,
    )


def planned(tree: Path, *arguments: str, configs: tuple[str, ...] = TINY) -> dict[str, int]:
    """Jobs of a dry run by rule."""
    done = snakemake(tree, "--dry-run", *arguments, configs=configs)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (done.stdout + done.stderr).splitlines()
    counts: dict[str, int] = {}
    for line in lines[lines.index("Job stats:") + 3 :] if "Job stats:" in lines else []:
        if len(line.split()) != 2:
            break
        rule, count = line.split()
        counts[rule] = int(count)
    return counts


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = copy_tree(tmp_path_factory.mktemp("tree"))
    done = snakemake(tree)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return tree


@pytest.mark.parametrize(("limit", "processes"), [(2, 2), (1, 1)])
def test_training_takes_a_process_for_each_gpu(tmp_path: Path, limit: int, processes: int) -> None:
    """The command that Snakemake prints; it is itself run in test_parallel_runs."""
    tree = copy_tree(tmp_path)
    (tree / "two.yaml").write_text("resources: {train: {gpu: 2}}\n")
    done = snakemake(
        tree, "--resources", f"gpu={limit}", "--dry-run", "--printshellcmds", "runs", configs=(*TINY, "two.yaml")
    )
    said = (done.stdout + done.stderr).splitlines()
    commands = [line for line in said if " structgan train " in line]
    start = "torchrun --standalone --nproc-per-node 2 " if processes == 2 else "python -m structgan train "
    assert commands and all(start in line for line in commands)


def test_one_command_goes_from_data_to_tables_figures_and_page(finished: Path) -> None:
    tables = finished / "results/tables/tiny"
    representation = (tables / "representation.csv").read_text().splitlines()
    assert representation[0] == REPRESENTATION
    rows = [line.split(",")[1:5] for line in representation[1:]]
    assert sorted(rows) == [
        ["random", "none", "base", "2"],
        ["simclr", "simclr", "base", "1"],
        ["structural", "none", "full", "1"],
        ["structural", "none", "no_cluster", "1"],
    ]
    generation = (tables / "generation.csv").read_text().splitlines()
    assert generation[0] == GENERATION
    structural = [line for line in generation if ",structural," in line]
    assert len(structural) == 2 and all(line.endswith(",embedded") for line in structural)
    for name in ("representation", "generation", "augmentation", "ablation"):
        for kind in ("csv", "md", "tex"):
            assert (tables / f"{name}.{kind}").stat().st_size > 0
    for name in ("augmentation", "training", "samples", "features"):
        assert (finished / f"results/figures/tiny/{name}.png").read_bytes().startswith(b"\x89PNG")
    page = (finished / "results/report/tiny.html").read_text()
    assert "an untrained encoder sees no augmentation" in page


def test_numbers_of_the_table_are_those_of_the_runs(finished: Path) -> None:
    folder = finished / "results/runs/tiny/digits/random/none/base"
    values = [json.loads((folder / f"seed={seed}/probe.json").read_text()) for seed in (0, 1)]
    mean = sum(value["metrics"]["linear"]["top1"] for value in values) / 2
    table = (finished / "results/tables/tiny/representation.csv").read_text().splitlines()
    row = next(line for line in table if ",random," in line).split(",")
    assert float(row[5]) == pytest.approx(mean, abs=1e-6)


def test_every_run_holds_what_the_house_promises(finished: Path) -> None:
    for cell in json.loads((finished / "results/runs/tiny/plan.json").read_text())["cells"]:
        run = finished / cell["run"]
        names = ["config.json", "encoder.safetensors", "history.json", "env.json", "probe.json", "train.log"]
        if cell["method"] == "structural":
            names += ["generator.safetensors", "fidelity.json", "samples.png"]
        assert [name for name in names if not (run / name).exists()] == []
        assert json.loads((run / "probe.json").read_text())["identity"] == cell["identity"]


def test_a_finished_suite_plans_nothing_and_a_comment_changes_nothing(finished: Path) -> None:
    assert planned(finished) == {}
    loss = finished / "structgan/losses/cluster.py"
    before = loss.read_text()
    loss.write_text(before + "\n# a comment\n")
    try:
        assert planned(finished) == {}
    finally:
        loss.write_text(before)


def test_an_edited_loss_plans_exactly_the_runs_that_use_it(finished: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(finished, tree, symlinks=True)
    loss = tree / "structgan/losses/cluster.py"
    loss.write_text(loss.read_text() + "\nEDITED = True\n")
    counts = planned(tree)
    assert counts["train_generative"] == 2
    assert "train" not in counts


def test_a_changed_value_retrains_that_method_alone(finished: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(finished, tree, symlinks=True)
    changed = tree / "tests/tiny.yaml"
    changed.write_text(changed.read_text().replace("  simclr:\n", "  simclr:\n    training: {steps: 7}\n", 1))
    counts = planned(tree)
    assert counts["train"] == 1 and counts["probe"] == 1
    assert "train_generative" not in counts and "extractor" not in counts


def test_a_retriggered_run_publishes_its_outputs_again_without_training(finished: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(finished, tree, symlinks=True)
    run = "results/runs/tiny/digits/structural/none/full/seed=0"
    before = {name: (tree / run / name).read_bytes() for name in ("encoder.safetensors", "history.json")}
    (tree / run / "encoder.safetensors").unlink()
    done = snakemake(tree, "--", f"{run}/encoder.safetensors")
    assert done.returncode == 0, done.stderr
    assert "resumed at step 6" in (tree / run / "train.log").read_text()
    assert {name: (tree / run / name).read_bytes() for name in before} == before

    for path in (tree / run / "config.json", tree / "data/prepared/digits.safetensors"):
        path.touch()
    for variables, words in (
        ({}, "resumed at step 6"),
        ({"STRUCTGAN_FRESH": "1"}, "trained again from the first step"),
    ):
        done = snakemake(tree, "--forcerun", "train_generative", "--", f"{run}/encoder.safetensors", **variables)
        assert done.returncode == 0, done.stderr
        assert words in (tree / run / "train.log").read_text()
        assert {name: (tree / run / name).read_bytes() for name in before} == before


def test_the_pages_commands_make_a_run_again_when_pasted(finished: Path, tmp_path: Path) -> None:
    """First the Snakemake line, then the verbs one by one, each in a shell and where the run was taken away."""
    tree = tmp_path / "tree"
    shutil.copytree(finished, tree, symlinks=True)
    page = (tree / "results/report/tiny.html").read_text()
    blocks = [html.unescape(block) for block in re.findall(r"<pre><code>(.*?)</code></pre>", page, re.DOTALL)]
    workflow, verbs = (block for block in blocks if "/random/none/" in block)
    folder = tree / "results/runs/tiny/digits/random/none/base/seed=0"
    whole = json.loads((folder / "probe.json").read_text())
    for command in (workflow, verbs):
        for path in folder.iterdir():
            if path.name != "config.json":
                path.unlink()
        done = subprocess.run(
            ["bash", "-ec", command], cwd=tree, env=surroundings(tree), capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        again = json.loads((folder / "probe.json").read_text())
        assert {**again, "seconds": 0} == {**whole, "seconds": 0}
    assert json.loads((folder / "env.json").read_text())["identity"] == whole["identity"]


def test_the_papers_grid_is_planned(tmp_path: Path) -> None:
    counts = planned(copy_tree(tmp_path), configs=())
    # structural: 3 data sets x (4 regimes + 5 further variants) x 3 seeds; plain_gan: 3 x 4 x 3
    assert counts["train_generative"] == 81 + 36
    # simclr and supervised: 3 x 4 x 3 each; random: no augmentation only
    assert counts["train"] == 36 + 36 + 9
    assert counts["probe"] == counts["train"] + counts["train_generative"]
    assert counts["fidelity"] == 117
    assert counts["prepare"] == 3


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
            ["regime 'corp'", "'crop'"],
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
    tree = copy_tree(tmp_path)
    blocks = (tree / "baselines/README.md").read_text().split("```")
    example, block = (text.split("\n", 1)[1] for text in blocks if text.startswith(("python", "yaml")))
    (tree / "baselines/mine.py").write_text(example)
    (tree / "mine.yaml").write_text(block.replace("seeds: [0, 1]", "seeds: [0]").replace("[mine, simclr]", "[mine]"))
    done = snakemake(tree, configs=(*TINY, "mine.yaml"))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    rows = [line.split(",")[1:3] for line in (tree / "results/tables/mine/representation.csv").read_text().splitlines()]
    assert sorted(rows[1:]) == [["mine", "none"], ["mine", "simclr"], ["random", "none"]]
