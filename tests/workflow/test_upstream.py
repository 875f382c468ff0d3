"""A suite of one run of GenRep, with real Snakemake: trained once, then what is planned when something changes."""

import json
from pathlib import Path

import pytest
from tree import TINY, Tree

from structgan import files, provenance

pytestmark = pytest.mark.faults
SUITE = """
suite: downstream
methods:
  genrep:
    settings: {encoder: {width: 16, blocks: [1, 1], channels_per_group: 16}, head_hidden: 16, head_output: 8}
grid:
  - {datasets: [digits_gradient], methods: [genrep], augmentations: [simclr], seeds: [0]}
"""
CONFIGS = (*TINY, "downstream.yaml")
TRAINED = ("--omit-from", "evaluate", "--", "runs")
"""Options for trainings alone: with --until train, Snakemake would leave out a training that waits for another one."""


def work(tree: Tree) -> int:
    """Trainings that a dry run plans."""
    return tree.planned(*TRAINED, configs=CONFIGS).get("train", 0)


def folder(tree: Tree, method: str) -> Path:
    """The folder of the only run of a method."""
    (found,) = (
        path.parent for path in tree.root.glob(f"results/runs/digits_gradient/{method}/*/base/seed=0/*/env.json")
    )
    return found


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    made = Tree.copy(tmp_path_factory.mktemp("downstream"))
    (made.root / "downstream.yaml").write_text(SUITE)
    made.snakemake(*TRAINED, configs=CONFIGS)
    return made


def test_a_run_is_trained_after_its_generators_run_and_says_so(tree: Tree) -> None:
    env, above = (json.loads((folder(tree, name) / "env.json").read_text()) for name in ("genrep", "plain_gan"))
    stored = above["checksums"]["files"]
    assert env["upstream"] == {
        "run": str(folder(tree, "plain_gan").relative_to(tree.root)),
        "identity": above["identity"],
        "files": {name: stored[name] for name in ("encoder.safetensors", "generator.safetensors")},
    }
    assert env["submissions"][0]["started"] > above["submissions"][0]["started"]


def test_a_run_is_trained_again_when_and_only_when_its_own_or_its_generators_changes(tree: Tree) -> None:
    tree.edit("baselines/simclr.py", "views = 2", "views = 3")
    tree.edit("structgan/losses/gaussian.py", "\nFORMS", "\nEDITED = 1\nFORMS")
    assert work(tree) == 0
    before = tree.edit("baselines/plain_gan.py", "import torch\n", "import torch\n\nEDITED = 1\n")
    assert work(tree) == 2
    (tree.root / "baselines/plain_gan.py").write_text(before)
    before = tree.edit("downstream.yaml", "head_output: 8", "head_output: 4")
    assert work(tree) == 1
    (tree.root / "downstream.yaml").write_text(before)


def test_other_weights_of_the_upstream_run_are_found_and_trained_with_again(tree: Tree) -> None:
    """As where the generator's run was deleted and trained once more on another machine."""
    run, above = folder(tree, "genrep"), folder(tree, "plain_gan")
    assert work(tree) == 0  # its plan is the suite's newest now, which verify reads
    assert not [line for line in tree.structgan("verify")[1] if "trained with" in line]
    generator, env = above / "generator.safetensors", above / "env.json"
    tensors, metadata = files.load_tensors(generator)
    files.save_tensors(generator, {name: 1.01 * value for name, value in tensors.items()}, metadata)
    record = files.read_json(env)
    made = [env.with_name(name) for name in record.pop("checksums")["files"]]
    provenance.write_sealed(env, record, made)
    code, told = tree.structgan("verify", "--delete")
    names = [str(path.relative_to(tree.root)) for path in (run, above)]
    assert code == 1 and f"{names[0]}/env.json: trained with other weights than {names[1]} holds now" in told
    assert work(tree) == 1
