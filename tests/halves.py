"""A data set whose images have one bright half, an extractor trained on it, and runs with fresh weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from structgan import config, datasets, files, method
from structgan.datasets import Parts, Split, store
from structgan.identity import protocol
from structgan.evaluation import extractor

CLASSES = ("low", "high", "left", "right")
EVALUATION = config.load([])["evaluation"]
SMALL = {**EVALUATION["extractor"], "width": 4, "epochs": 4, "batch_size": 32, "lr": 0.01}
SETTINGS = {
    **EVALUATION["fidelity"], "extractor": "embedded", "n_generated": 120, "batch_size": 50, "kid_subset_size": 60,
    "kid_subsets": 7, "is_splits": 4,
}  # fmt: skip


def pictures(n: int, seed: int) -> Split:
    """Noise with one bright half: a task that a tiny classifier learns in a second."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 4
    images = torch.randint(0, 120, (n, 3, 16, 16), generator=generator)
    for image, label in zip(images, labels.tolist(), strict=True):
        half = (image[:, 8:], image[:, :8], image[:, :, :8], image[:, :, 8:])[label]
        half += 100
    return Split(images.to(torch.uint8), labels)


def write(folder: Path) -> Path:
    """Writes a data set, a trained extractor, a protocol and runs as their training leaves them, one of them a GAN."""
    store.save(folder / "data.safetensors", Parts(CLASSES, pictures(400, 0), pictures(200, 1)), {"name": "halves"})
    small = {"fidelity": SETTINGS, "map": {"points": 50}, "knn": {"k": 5}, "extractor": SMALL}
    evaluation = config.merge(EVALUATION, small)
    for kind in protocol.KINDS:
        files.write_json(folder / f"{kind}-protocol.json", protocol.make(evaluation, kind))
    train_extractor(folder, folder / "extractor.safetensors")
    for name in ("plain_gan", "random", "structural"):
        made_run(folder / name, name, datasets.load(folder / "data.safetensors").content_hash)
    return folder


def train_extractor(folder: Path, out: Path) -> dict[str, Any]:
    """Trains an extractor on the data set in ``folder`` as its protocol says; returns its metadata."""
    return extractor.train(folder / "data.safetensors", folder / "extractor-protocol.json", out, "cpu")


def made_run(folder: Path, name: str, images: str) -> None:
    """A run folder with fresh weights of a demo method."""
    cell = {"dataset": "digits", "method": name, "augmentation": "none", "seed": 0}
    cell["variant"] = "full" if name == "structural" else "base"
    described = config.run_config(config.load([Path(__file__).parents[1] / "workflow/config/demo.yaml"]), cell)
    files.write_json(folder / "config.json", described)
    torch.manual_seed(0)
    built = method.build(described, len(CLASSES))
    metadata = {"identity": described["identity"], "content_hash": images, "num_classes": str(len(CLASSES))}
    scored = {"online_top1": 0.625, "online_top1_ema": 0.5}
    files.write_json(folder / "history.json", {"records": [{"step": 20, "images": 320, "losses": scored}]})
    for path in method.published_files(folder, name):
        files.save_tensors(path, built.get_submodule(path.stem).state_dict(), metadata)
