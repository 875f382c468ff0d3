"""Prepared images never change: their content hashes are those in tests/goldens/datasets.json."""

import json
from pathlib import Path

import published_archives as published
import pytest
from raw_data import TINY, md5, pack, tree_members, unpack

from structgan import datasets
from structgan.datasets import imagenet10, imagenette, scenes, voc

GOLDENS = json.loads((Path(__file__).parents[1] / "goldens/datasets.json").read_text())
JPEG = Path(__file__).parents[2] / "data/raw/cifar10-jpeg.tar.xz"
SCENES = {
    "image_size": 32, "digit_size": 12, "objects": [1, 3], "ink": 0.5, "train_size": 40, "test_size": 30,
    "train_scans": [500, 1797], "test_scans": [0, 500], "seed": 0,
}  # fmt: skip
BUILT = {
    "digits": lambda raw: {"builder": "digits"},
    "digits, tiny": lambda raw: TINY,
    "digits, 32 pixels, seed 1": lambda raw: {**TINY, "image_size": 32, "seed": 1, "train_scans": [600, 900]},
    "folder, tree": lambda raw: folder(unpack(raw, tree_members())),
    "folder, archive": lambda raw: folder(pack(raw / "a.tar.xz", tree_members())),
    "folder, resized": lambda raw: {**folder(unpack(raw, tree_members())), "image_size": 12, "resize": True},
    "cifar10": lambda raw: {"builder": "cifar10", "md5": md5(published.cifar(raw, "cifar10")[0])},
    "cifar100": lambda raw: {"builder": "cifar100", "md5": md5(published.cifar(raw, "cifar100")[0])},
    "stl10": lambda raw: {"builder": "stl10", "md5": md5(published.stl(raw)[0])},
    "imagenet10": lambda raw: imagenet(raw / "imagenet", "imagenet10", imagenet10.CLASSES),
    "imagenette": lambda raw: imagenet(raw / "imagenette2-160", "imagenette", imagenette.CLASSES),
    "cifar10, JPEG": lambda raw: {"builder": "folder", "path": str(JPEG), "image_size": 32},
}
LOCAL = [pytest.mark.skipif(not JPEG.exists(), reason="needs data/raw/cifar10-jpeg.tar.xz")]


def folder(path):
    return {"builder": "folder", "path": str(path), "image_size": 8}


def imagenet(root, builder, wnids):
    unpack(root, published.imagenet(wnids, kind="PNG"))
    return {"builder": builder, "image_size": 16}


@pytest.mark.parametrize("name", [pytest.param(name, marks=LOCAL if "JPEG" in name else []) for name in BUILT])
def test_prepared_images_have_their_golden_hash(tmp_path, name):
    settings = BUILT[name](tmp_path / "raw")
    assert datasets.prepare(settings, tmp_path / "set.safetensors", tmp_path / "raw")["content_hash"] == GOLDENS[name]


def test_annotated_images_have_their_golden_hash(tmp_path):
    published.voc(tmp_path)
    built = {"scenes": scenes.build(SCENES), "voc": voc.build({"year": "2012", "image_size": 32}, tmp_path)}
    assert {name: [split.digest() for split in pair] for name, pair in built.items()} == {
        name: GOLDENS[name] for name in built
    }
