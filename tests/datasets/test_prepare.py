"""Preparing a data set: settings are checked, and a new builder is one new file."""

import json

import pytest
from raw_data import TINY
from refusal import refused

from structgan import builders, config, datasets, files, sources
from structgan.errors import UserError

WRONG = [
    ("builder", {}),
    ("cifar10", {"builder": "cifar"}),
    ("train_size", {"train_sise": 3}),
    ("image_size", {"image_size": 64}),
    ("train_size", {"train_size": 0}),
    ("train_size", {"train_size": 60.0}),
    ("seed", {"seed": True}),
    ("seed", {"seed": None}),
    ("test_scans", {"test_scans": [1700, 1798]}),
    ("test_scans", {"test_scans": [5, 5]}),
    ("path", {"builder": "folder", "image_size": 8}),
    ("path", {"builder": "folder", "path": "", "image_size": 8}),
    ("image_size", {"builder": "folder", "path": "x"}),
    ("resize", {"builder": "folder", "path": "x", "image_size": 8, "resize": "yes"}),
]


@pytest.mark.parametrize(("key", "change"), WRONG)
def test_wrong_settings_are_refused(prepare, key, change):
    settings = change if not change or "builder" in change else {**TINY, **change}
    with refused("data set 'set'", key):
        prepare(**settings)


@pytest.mark.parametrize(("key", "change"), [WRONG[number] for number in (1, 2, 3, 10)])
def test_wrong_settings_are_refused_when_planning(user_file, key, change):
    settings = {"image_size": 16, "builder": "digits", **change}
    with refused("mine.yaml", "datasets.mine", key):
        config.load([user_file(json.dumps({"datasets": {"mine": settings}}))])


def test_settings_that_do_not_fit_together_are_refused(prepare):
    with refused("train_scans", "test_scans"):
        prepare(**{**TINY, "train_scans": [499, 1797]})
    with refused("class", "train"):
        prepare(**{**TINY, "train_size": 5})


def test_every_builder_is_found_by_its_file_name_and_its_defaults_are_allowed():
    own = {"folder": {"path": "x", "image_size": 8}}
    assert set(builders.names()) == {
        "cifar10",
        "cifar100",
        "digits",
        "digits_noise",
        "folder",
        "imagenet10",
        "imagenette",
        "stl10",
    }
    for name in builders.names():
        assert "image_size" in builders.resolve({"builder": name, **own.get(name, {})}, str)


def test_the_file_describes_itself(tmp_path):
    out = tmp_path / "mine.safetensors"
    summary = datasets.prepare({**TINY, "title": "Digits"}, out, tmp_path)
    assert summary["name"] == "mine" and summary["images"] == {"train": 60, "test": 40} and summary["classes"] == 10
    tensors, metadata = files.load_tensors(out)
    assert set(tensors) == {"train/images", "train/labels", "test/images", "test/labels"}
    assert metadata["content_hash"] == summary["content_hash"]
    settings = json.loads(metadata["settings"])
    assert settings["train_scans"] == [500, 1797] and settings["train_size"] == 60 and settings["seed"] == 0
    named = datasets.prepare({**TINY, "name": "other", "note": "n"}, out, tmp_path)
    assert named["content_hash"] == summary["content_hash"] and datasets.load(out).note == "n"


def test_a_builder_that_changed_after_planning_is_refused(prepare):
    assert prepare(**TINY, sources=sources.builder_digest("digits"))
    with pytest.raises(UserError):
        prepare(**TINY, sources="0" * 64)


STRIPES = '''
"""Horizontal and vertical stripes."""

import torch

from structgan.datasets.store import Parts, Split

DEFAULTS = {"image_size": 8, "count": 6, "shade": 0.5}
LIMITS = {"count": (1, 100), "shade": (0.0, 1.0)}


def build(settings, raw):
    images = torch.zeros(settings["count"], 2, 3, 8, 8, dtype=torch.uint8)
    images[:, 0, :, ::2], images[:, 1, :, :, ::2] = (int(255 * settings["shade"]),) * 2
    train, test = (Split(images.flatten(0, 1).clone(), torch.arange(2).repeat(settings["count"])) for _ in "12")
    return Parts(("horizontal", "vertical"), train, test)
'''
BLOCK = """
suite: stripes
datasets: {stripes: {builder: stripes, image_size: 8, count: 4, shade: 1}}
grid: [{datasets: [stripes], methods: [random], augmentations: [none], seeds: [0]}]
"""


def test_a_new_data_set_is_one_file_and_one_block_in_the_configuration(tmp_path, copy_tree, command):
    tree = copy_tree(tmp_path / "tree")
    (tree / "structgan/datasets/stripes.py").write_text(STRIPES)
    (tree / "mine.yaml").write_text(BLOCK)
    done = command("-m", "structgan", "configure", "--configfile", "mine.yaml", cwd=tree, root=tree)
    assert done.returncode == 0, done.stderr
    (planned,) = (tree / "data/prepared").glob("stripes*.json")
    out = tree / "stripes.safetensors"
    done = command("-m", "structgan", "prepare", "--settings", planned, "--out", out, cwd=tree, root=tree)
    assert done.returncode == 0, done.stderr
    built = datasets.load(out, verify=True)
    assert len(built.train) == 8 and built.image_size == 8 and int(built.train.images.max()) == 255
