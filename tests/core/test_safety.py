"""What would run code: pickles, YAML, and names of a configuration that are commands."""

import copy
import os
import pickle
from pathlib import Path

import pytest
import torch
from refusal import refused
from tree import TINY, Tree

from structgan import config, files
from structgan.evaluation import torch_fidelity


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, fuse: Path) -> None:
        self.fuse = fuse

    def __reduce__(self):
        return Path.touch, (self.fuse,)


@pytest.fixture
def bomb(tmp_path):
    """A pickle that is known to go off, and the file that it would write."""
    fuse = tmp_path / "fuse"
    content = pickle.dumps({"data": Bomb(fuse), b"labels": [0]})
    pickle.loads(content)
    assert fuse.exists()
    fuse.unlink()
    return content, fuse


@pytest.mark.parametrize("form", ["zip", "legacy", "bare"])
def test_weights_that_are_a_pickle_do_nothing(bomb, tmp_path, form):
    """Neither in our own check, nor in torch-fidelity, which asks torch for the whole pickle."""
    content, fuse = bomb
    path = tmp_path / "weights.pth"
    if form == "bare":
        path.write_bytes(content)
    else:
        torch.save({"a": Bomb(fuse)}, path, _use_new_zipfile_serialization=form == "zip")
    with refused("damaged, or no file of weights"):
        torch_fidelity.inception_weights(path)
    images = torch.zeros(4, 3, 16, 16, dtype=torch.uint8)
    with pytest.raises(pickle.UnpicklingError):
        torch_fidelity.measure(images, images, config.load([])["evaluation"]["fidelity"], path)
    assert not fuse.exists()


def test_state_and_data_that_are_a_pickle_do_nothing(bomb, tmp_path):
    content, fuse = bomb
    (tmp_path / "state.safetensors").write_bytes(content)
    with refused("truncated or damaged"):
        files.load_tensors(tmp_path / "state.safetensors")
    (tmp_path / "probe.json").write_bytes(content)
    with refused("probe.json"):
        files.read_json(tmp_path / "probe.json")
    assert not fuse.exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("suite: !!python/object/apply:os.mknod ['FUSE']", "not valid YAML"),
        ("__use_yte__: true\nsuite: ?open('FUSE', 'w').name", "unknown key '__use_yte__'"),
        ("__use_yte__: true\n__definitions__: [\"open('FUSE', 'w')\"]", "unknown key '__"),
    ],
)
def test_a_configuration_runs_nothing(tmp_path, text, words):
    """In structgan; Snakemake's reader runs the two last."""
    fuse = tmp_path / "fuse"
    (tmp_path / "mine.yaml").write_text(text.replace("FUSE", str(fuse)))
    with refused("mine.yaml", words):
        config.load([tmp_path / "mine.yaml"])
    assert not fuse.exists()


def test_a_pipe_is_no_configuration(tmp_path):
    os.mkfifo(tmp_path / "mine.yaml")
    with refused("mine.yaml: cannot be read: not a file"):
        config.load([tmp_path / "mine.yaml"])


NAMES = ("x; touch y", "$(touch y)", "`touch y`", "a b", "a'b", "a\n", "../a", "..", "/a", "-rf", "a/b", "a|b", "")


@pytest.mark.parametrize("section", ["suite", "datasets", "augmentations", "methods", "variants", "grid"])
def test_a_name_that_is_not_plain_is_refused(base, section):
    for name in NAMES:
        changed = copy.deepcopy(base)
        if section == "suite":
            changed["suite"] = name
        elif section == "grid":
            changed["grid"][0]["datasets"] = [name]
        else:
            blocks = changed["methods"]["structural"]["variants"] if section == "variants" else changed[section]
            blocks[name] = copy.deepcopy(next(iter(blocks.values())))
        with refused("letters, digits, _ . -", section):
            config.check(changed, [])


SPELL = "x; touch bad1 $(touch bad2) `touch bad3` 'touch bad4' & touch bad5"
WILD = """
suite: "suite; touch bad6"
datasets: {{"{spell}": {{builder: digits, image_size: 16, train_size: 60, test_size: 40}}}}
augmentations: {{"none; touch bad7": {{title: "$(touch bad8)"}}}}
grid: [{{datasets: ["{spell}"], methods: [random], augmentations: ["none; touch bad7"], seeds: [0]}}]
evaluation: {{knn: {{k: 5}}}}
"""


@pytest.mark.faults
def test_names_are_harmless_without_the_schema_too(tmp_path):
    """Real Snakemake, every name allowed: data, training, probe, tables, figures and page, and no command ran."""
    tree = Tree.copy(tmp_path)
    (tree.root / "wild.yaml").write_text(WILD.format(spell=SPELL))
    tree.edit("workflow/schemas/config.schema.yaml", 'pattern: "^[A-Za-z0-9][A-Za-z0-9_.-]*$(?!\\\\n)"', 'pattern: ""')
    tree.snakemake(configs=(*TINY, "wild.yaml"))
    assert (tree.root / "results/report/suite; touch bad6.html").stat().st_size > 10_000
    (probe,) = (tree.root / f"results/runs/{SPELL}/random/none; touch bad7/base/seed=0").glob("*/probe-*.json")
    assert files.read_json(probe)["dataset"]["name"] == SPELL
    assert not [path for path in tree.root.rglob("bad*") if path.name[3:].isdigit()]
