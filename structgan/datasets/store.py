"""The file of a prepared data set: uint8 images and labels in one safetensors file that is mapped, not read.

Tensors: ``train/images``, ``train/labels``, ``test/images``, ``test/labels`` and, for data with an unlabelled part,
``unlabelled/images``. Metadata: format, name, classes, content_hash, identity, settings, note, image_size. The content
hash is the SHA-256 over the sorted tensors' names, types, shapes and bytes, so that a name or note never changes it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from structgan import files
from structgan.errors import UserError

FORMAT = "structgan-dataset-1"
AGAIN = "delete it and run `snakemake data` to make it again"


@dataclass(frozen=True)
class Split:
    """Images with their labels. Shapes: images (N, 3, H, W) uint8 in 0..255, labels (N,) int64 in [0, classes)."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device | str) -> Self:
        """The same split on ``device``."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))


@dataclass(frozen=True)
class Parts:
    """What a builder hands over to be written. ``note`` is the default that ``settings["note"]`` overrides."""

    classes: tuple[str, ...]
    train: Split
    test: Split
    unlabelled: Tensor | None = None
    note: str = ""

    def tensors(self) -> dict[str, Tensor]:
        """The tensors under their names in the file."""
        named = {
            "train/images": self.train.images,
            "train/labels": self.train.labels,
            "test/images": self.test.images,
            "test/labels": self.test.labels,
        }
        return named if self.unlabelled is None else {**named, "unlabelled/images": self.unlabelled}


@dataclass(frozen=True)
class Dataset:
    """A prepared data set. Image tensors are (N, 3, image_size, image_size) uint8 in 0..255.

    ``identity`` is that of the settings it was prepared from; empty where it was prepared without one.
    """

    name: str
    classes: tuple[str, ...]
    image_size: int
    content_hash: str
    note: str
    train: Split
    test: Split
    unlabelled: Tensor | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    identity: str = ""

    @property
    def training_images(self) -> Tensor:
        """What a method learns from without labels: the unlabelled part where there is one, else the train split."""
        return self.train.images if self.unlabelled is None else self.unlabelled

    @property
    def training_labels(self) -> Tensor | None:
        """Labels of ``training_images``; None where these have none."""
        return self.train.labels if self.unlabelled is None else None

    @property
    def sizes(self) -> dict[str, int]:
        """Number of images of each split."""
        splits = {"train": self.train.images, "test": self.test.images, "unlabelled": self.unlabelled}
        return {name: len(images) for name, images in splits.items() if images is not None}

    def labelled(self) -> Self:
        """The same without its unlabelled part, for a method that learns from labels."""
        return replace(self, unlabelled=None)

    def to(self, device: torch.device | str) -> Self:
        """The same data set on ``device``."""
        unlabelled = None if self.unlabelled is None else self.unlabelled.to(device)
        return replace(self, train=self.train.to(device), test=self.test.to(device), unlabelled=unlabelled)


def content_hash(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the sorted tensors' names, types, shapes and bytes, in hexadecimal."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.cpu().numpy().data)
    return digest.hexdigest()


def save(path: Path, parts: Parts, settings: Mapping[str, Any], identity: str = "") -> dict[str, Any]:
    """Check ``parts`` and write them atomically; returns the summary.

    ``identity`` is the fingerprint of what was asked for, so that a plan knows a file that need not be made again.

    Raises:
        UserError: a class has no image in a split; the disk is full; the folder cannot be written.
    """
    from safetensors import SafetensorError

    tensors = parts.tensors()
    for split in ("train", "test"):
        counts = torch.bincount(tensors[f"{split}/labels"], minlength=len(parts.classes))
        empty = [parts.classes[i] for i in (counts == 0).nonzero().flatten().tolist()]
        if empty:
            raise UserError(f"data set '{settings['name']}': class '{empty[0]}' has no image in the {split} split")
    size = parts.train.images.shape[-1]
    digest = content_hash(tensors)
    metadata = {
        "format": FORMAT,
        "name": str(settings["name"]),
        "classes": json.dumps(parts.classes, ensure_ascii=False),
        "content_hash": digest,
        "identity": identity,
        "settings": json.dumps(settings, sort_keys=True, separators=(",", ":"), ensure_ascii=False),
        "note": str(settings.get("note") or parts.note),
        "image_size": str(size),
    }
    try:
        files.save_tensors(path, tensors, metadata)
    except SafetensorError as error:
        raise UserError(f"{path}: cannot be written: {error}") from error
    return {
        "name": metadata["name"],
        "path": str(path),
        "content_hash": digest,
        "note": metadata["note"],
        "image_size": size,
        "classes": len(parts.classes),
        "images": {name.split("/")[0]: len(tensors[name]) for name in tensors if name.endswith("/images")},
        "bytes": path.stat().st_size,
    }


def load(path: str | Path, device: torch.device | str = "cpu", verify: bool = False) -> Dataset:
    """Open a prepared data set; on the CPU its tensors are views of the mapped file.

    Args:
        path: the file that ``prepare`` wrote.
        device: where the tensors shall live.
        verify: also read every byte and compare the content hash.

    Raises:
        UserError: the file is missing, truncated, of another format, inconsistent, or (``verify``) changed.
    """
    try:
        tensors, metadata = files.load_tensors(path)
    except UserError as error:
        raise UserError(f"{error}; {AGAIN}") from error
    dataset = _checked(path, tensors, metadata)
    if verify and content_hash(tensors) != dataset.content_hash:
        raise UserError(f"{path}: corrupted, its bytes do not match its content hash; {AGAIN}")
    return dataset.to(device)


def _checked(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Dataset:
    """The data set in a file's tensors and metadata, after comparing the two."""
    if metadata.get("format") != FORMAT:
        raise UserError(f"{path}: not a prepared data set (format {metadata.get('format')!r}, not {FORMAT!r}); {AGAIN}")
    try:
        classes = tuple(json.loads(metadata["classes"]))
        size = int(metadata["image_size"])
        train, test = (Split(tensors[f"{name}/images"], tensors[f"{name}/labels"]) for name in ("train", "test"))
        settings = json.loads(metadata["settings"])
        name, note, digest = metadata["name"], metadata["note"], metadata["content_hash"]
    except (KeyError, ValueError) as error:
        raise UserError(f"{path}: damaged, {error} is missing or wrong; {AGAIN}") from error
    unlabelled = tensors.get("unlabelled/images")
    for key, images in (("train", train.images), ("test", test.images), ("unlabelled", unlabelled)):
        if images is not None and (images.dtype != torch.uint8 or images.shape[1:] != (3, size, size)):
            found = f"{images.dtype} {tuple(images.shape)}"
            raise UserError(f"{path}: {key}/images is {found}, not uint8 (N, 3, {size}, {size}); {AGAIN}")
    for key, split in (("train", train), ("test", test)):
        labels = split.labels
        fits = labels.dtype == torch.int64 and labels.shape == (len(split),) and len(split) > 0
        if not fits or int(labels.min()) < 0 or int(labels.max()) >= len(classes):
            raise UserError(f"{path}: {key}/labels do not fit {len(split)} images of {len(classes)} classes; {AGAIN}")
    return Dataset(name, classes, size, digest, note, train, test, unlabelled, settings, metadata.get("identity", ""))
