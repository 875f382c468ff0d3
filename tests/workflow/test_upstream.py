"""A suite of one run of GenRep, with real Snakemake: trained once, then what is planned when something changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from structgan.identity import seal
from workflow_tree import TINY, copy_tree, planned, snakemake

from structgan import files

SUITE = """
suite: downstream
methods:
  genrep:
    settings: {encoder: {width: 16, blocks: [1, 1], channels_per_group: 16}, head_hidden: 16, head_output: 8}
grid:
  - {datasets: [digits], methods: [genrep], augmentations: [simclr], seeds: [0]}
"""
CONFIGS = (*TINY, "downstream.yaml")
DIGITS = "results/runs/downstream/digits"
RUN, ABOVE = f"{DIGITS}/genrep/simclr/base/seed=0", f"{DIGITS}/plain_gan/none/base/seed=0"
TARGET = ("--", f"{RUN}/encoder.safetensors")
BOTH = {"train_generative": 1, "train": 1}


def work(tree: Path) -> dict[str, int]:
    """Trainings that a dry run plans."""
    return {rule: n for rule, n in planned(tree, *TARGET, configs=CONFIGS).items() if rule != "total"}


def edited(tree: Path, name: str, old: str, new: str) -> str:
    """Replace text in a file, and return what it was."""
    before = (tree / name).read_text()
    assert before.count(old) == 1
    (tree / name).write_text(before.replace(old, new))
    return before


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = copy_tree(tmp_path_factory.mktemp("downstream"))
    (root / "downstream.yaml").write_text(SUITE)
    done = snakemake(root, *TARGET, configs=CONFIGS)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return root


def test_a_run_is_trained_after_its_generators_run_and_says_so(tree: Path) -> None:
    env, above = (json.loads((tree / run / "env.json").read_text()) for run in (RUN, ABOVE))
    stored = above["checksums"]["files"]
    names = ("encoder.safetensors", "generator.safetensors")
    assert env["upstream"] == {"run": ABOVE, "identity": above["identity"], "files": {n: stored[n] for n in names}}
    assert env["submissions"][0]["started"] > above["submissions"][0]["started"]


def test_a_run_is_trained_again_when_and_only_when_its_own_or_its_generators_changes(tree: Path) -> None:
    edited(tree, "baselines/simclr.py", "views = 2", "views = 3")
    edited(tree, "structgan/losses/gaussian.py", "\nFORMS", "\nEDITED = 1\nFORMS")
    assert work(tree) == {}
    before = edited(tree, "baselines/plain_gan.py", "import torch\n", "import torch\n\nEDITED = 1\n")
    assert work(tree) == BOTH
    (tree / "baselines/plain_gan.py").write_text(before)
    before = edited(tree, "downstream.yaml", "head_output: 8", "head_output: 4")
    assert work(tree) == {"train": 1}
    (tree / "downstream.yaml").write_text(before)


def test_other_weights_of_the_same_identity_train_again_what_depends_on_them(tree: Path, command) -> None:
    """As where the generator's run was trained once more on another machine."""
    verify = ("-m", "structgan", "verify")
    generator, env = tree / ABOVE / "generator.safetensors", tree / ABOVE / "env.json"
    assert work(tree) == {}
    sound = command(*verify, cwd=tree, root=tree)
    assert sound.returncode == 0, sound.stdout
    assert generator.stat().st_mtime < (tree / RUN / "encoder.safetensors").stat().st_mtime
    tensors, metadata = files.load_tensors(generator)
    files.save_tensors(generator, {name: 1.01 * value for name, value in tensors.items()}, metadata)
    record = files.read_json(env)
    made = [env.with_name(name) for name in record.pop("checksums")["files"]]
    seal.write(env, record, made)
    told = command(*verify, cwd=tree, root=tree)
    line = f"{RUN}/env.json: trained with other weights than {ABOVE} holds now"
    assert told.returncode == 1 and told.stdout.splitlines() == [line]
    assert work(tree) == {"train": 1}
