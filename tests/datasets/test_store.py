"""The prepared file: its content hash, how it is loaded, and each thing that can be wrong with it."""

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


def test_a_damaged_file_is_refused_with_how_to_make_it_again(tiny):
    with refused("absent.safetensors", "snakemake data"):
        datasets.load(tiny.with_name("absent.safetensors"))
    whole = tiny.read_bytes()
    for cut in (0, 5, 300, len(whole) // 2, len(whole) - 1):
        tiny.write_bytes(whole[:cut])
        with refused(str(tiny), "snakemake data"):
            datasets.load(tiny)
    for place in (len(whole) // 2, -5):  # in an image, which only the hash can tell, and in the last tensor
        changed = bytearray(whole)
        changed[place] ^= 1
        tiny.write_bytes(changed)
        with refused(str(tiny), "snakemake data"):
            datasets.load(tiny, verify=True)


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("format", lambda t, m: m.pop("format")),
        ("classes", lambda t, m: m.pop("classes")),
        ("damaged", lambda t, m: m.update(classes="[broken")),
        ("train/images", lambda t, m: m.update(image_size="17")),
        ("test/labels", lambda t, m: t.pop("test/labels")),
        ("train/images", lambda t, m: t.update({"train/images": t["train/images"].float()})),
        ("train/labels", lambda t, m: t.update({"train/labels": t["train/labels"][:-1].clone()})),
        ("test/labels", lambda t, m: t.update({"test/labels": t["test/labels"] - 1})),
        ("test/labels", lambda t, m: t.update({"test/labels": t["test/labels"] + 1})),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(tiny, key, change):
    tensors, metadata = files.load_tensors(tiny)
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    change(tensors, metadata)
    files.save_tensors(tiny, tensors, metadata)
    with refused(str(tiny), key, "snakemake data"):
        datasets.load(tiny)
