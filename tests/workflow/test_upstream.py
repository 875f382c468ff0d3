"""A suite of one run of GenRep, with real Snakemake: trained once, then what is planned when something changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from workflow_tree import TINY, copy_tree, planned, snakemake

from structgan import files, provenance

SUITE = """
suite: downstream
methods:
  genrep:
    settings: {encoder: {width: 16, blocks: [1, 1], channels_per_group: 16}, head_hidden: 16, head_output: 8}
grid:
  - {datasets: [digits], methods: [genrep], augmentations: [simclr], seeds: [0]}
"""
CONFIGS = (*TINY, "downstream.yaml")
TARGET = ("--until", "train")


def work(tree: Path) -> int:
    """Trainings that a dry run plans."""
    return planned(tree, *TARGET, configs=CONFIGS).get("train", 0)


def folder(tree: Path, method: str) -> Path:
    """The folder of the only run of a method."""
    (found,) = (path.parent for path in tree.glob(f"results/runs/digits/{method}/*/base/seed=0/*/env.json"))
    return found


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
    env, above = (json.loads((folder(tree, name) / "env.json").read_text()) for name in ("genrep", "plain_gan"))
    stored = above["checksums"]["files"]
    names = ("encoder.safetensors", "generator.safetensors")
    assert env["upstream"] == {
        "run": str(folder(tree, "plain_gan").relative_to(tree)),
        "identity": above["identity"],
        "files": {n: stored[n] for n in names},
    }
    assert env["submissions"][0]["started"] > above["submissions"][0]["started"]


def test_a_run_is_trained_again_when_and_only_when_its_own_or_its_generators_changes(tree: Path) -> None:
    edited(tree, "baselines/simclr.py", "views = 2", "views = 3")
    edited(tree, "structgan/losses/gaussian.py", "\nFORMS", "\nEDITED = 1\nFORMS")
    assert work(tree) == 0
    before = edited(tree, "baselines/plain_gan.py", "import torch\n", "import torch\n\nEDITED = 1\n")
    assert work(tree) == 2
    (tree / "baselines/plain_gan.py").write_text(before)
    before = edited(tree, "downstream.yaml", "head_output: 8", "head_output: 4")
    assert work(tree) == 1
    (tree / "downstream.yaml").write_text(before)


def test_other_weights_of_the_upstream_run_are_found_and_trained_with_again(tree: Path, command) -> None:
    """As where the generator's run was deleted and trained once more on another machine."""
    verify = ("-m", "structgan", "verify")
    run, above = folder(tree, "genrep"), folder(tree, "plain_gan")
    assert "trained with" not in command(*verify, cwd=tree, root=tree).stdout
    generator, env = above / "generator.safetensors", above / "env.json"
    tensors, metadata = files.load_tensors(generator)
    files.save_tensors(generator, {name: 1.01 * value for name, value in tensors.items()}, metadata)
    record = files.read_json(env)
    made = [env.with_name(name) for name in record.pop("checksums")["files"]]
    provenance.write_sealed(env, record, made)
    told = command(*verify, "--delete", cwd=tree, root=tree)
    names = [str(path.relative_to(tree)) for path in (run, above)]
    assert told.returncode == 1
    assert f"{names[0]}/env.json: trained with other weights than {names[1]} holds now" in told.stdout.splitlines()
    assert work(tree) == 1
