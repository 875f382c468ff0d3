"""The prepared file: its content hash, how it is loaded, and each thing that can be wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from raw_data import TINY
from refusal import refused

from structgan import datasets, files
from structgan.datasets import store


@pytest.fixture
def tiny(tmp_path) -> Path:
    out = tmp_path / "tiny.safetensors"
    datasets.prepare(TINY, out, tmp_path)
    return out


def test_content_hash_sees_names_shapes_types_and_bytes():
    base = {"a": torch.arange(12, dtype=torch.uint8), "b": torch.zeros(2, dtype=torch.int64)}
    variants = [
        {"c": base["a"], "b": base["b"]},
        {"a": base["a"].view(3, 4), "b": base["b"]},
        {"a": base["a"].long(), "b": base["b"]},
        {"a": base["a"].flip(0), "b": base["b"]},
    ]
    hashes = [store.content_hash(tensors) for tensors in (base, *variants)]
    assert len(set(hashes)) == 5
    assert store.content_hash(dict(reversed(base.items()))) == hashes[0]
    assert store.content_hash({"a": base["a"].view(3, 4).T.contiguous().T, "b": base["b"]}) == hashes[2]


def test_load_maps_the_file_and_moves(tiny):
    loaded = datasets.load(tiny)
    maps = Path("/proc/self/maps").read_text() if Path("/proc/self/maps").exists() else tiny.name
    assert tiny.name in maps
    moved = loaded.to("meta")
    assert moved.train.images.device.type == moved.test.labels.device.type == "meta"
    assert moved.classes == loaded.classes and len(moved.train) == 60


def test_a_damaged_prepared_file_says_how_to_make_it_again(tiny):
    again = "snakemake data"
    with refused("absent.safetensors", "no such file", again):
        datasets.load(tiny.with_name("absent.safetensors"))
    whole = tiny.read_bytes()
    for cut in (0, 5, 300, len(whole) // 2, len(whole) - 1):
        tiny.write_bytes(whole[:cut])
        with refused(str(tiny), "truncated or damaged", again):
            datasets.load(tiny)
    flipped = bytearray(whole)
    flipped[-5] ^= 1
    tiny.write_bytes(flipped)
    with refused(str(tiny)):  # caught by the labels' range or by the hash, whichever tensor lies last
        datasets.load(tiny, verify=True)
    middle = bytearray(whole)
    middle[len(whole) // 2] ^= 1  # inside an image: only the hash can see it
    tiny.write_bytes(middle)
    assert len(datasets.load(tiny).train) == 60
    with refused(str(tiny), "corrupted", "content hash", again):
        datasets.load(tiny, verify=True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t, m: m.pop("format"), ["not a prepared data set"]),
        (lambda t, m: m.pop("classes"), ["'classes'"]),
        (lambda t, m: m.update(classes="[broken"), ["damaged"]),
        (lambda t, m: m.update(image_size="17"), ["train/images", "17, 17"]),
        (lambda t, m: t.pop("test/labels"), ["'test/labels'"]),
        (lambda t, m: t.update({"train/images": t["train/images"].float()}), ["float32", "uint8"]),
        (lambda t, m: t.update({"train/labels": t["train/labels"][:-1].clone()}), ["train/labels do not fit"]),
        (lambda t, m: t.update({"test/labels": t["test/labels"] - 1}), ["test/labels do not fit"]),
        (lambda t, m: t.update({"test/labels": t["test/labels"] + 1}), ["test/labels do not fit"]),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(tiny, change, words):
    tensors, metadata = files.load_tensors(tiny)
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    change(tensors, metadata)
    files.save_tensors(tiny, tensors, metadata)
    with refused(str(tiny), *words, "snakemake data"):
        datasets.load(tiny)
