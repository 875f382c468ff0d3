"""The prepared file: uint8 images and labels as safetensors, mapped into memory.

Tensors: ``{train,test}/{images,labels}`` and, where there is an unlabelled part, ``unlabelled/images``. Metadata:
format, name, classes, content_hash, identity, settings, note, image_size.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self, TypeAlias

import torch
from torch import Tensor

from structgan import files
from structgan.errors import UserError

FORMAT = "structgan-dataset-1"
Settings: TypeAlias = Mapping[str, Any]
AGAIN = "delete it and run `snakemake data` to make it again"


@dataclass(frozen=True)
class Split:
    """Images (N, 3, H, W) uint8 in [0, 255] and labels (N,) int64 in [0, classes)."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device | str) -> Self:
        """A copy on ``device``."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))


@dataclass(frozen=True)
class Parts:
    """What a builder returns. ``note`` is shown beside numbers, unless the configuration has another one."""

    classes: tuple[str, ...]
    train: Split
    test: Split
    unlabelled: Tensor | None = None
    note: str = ""

    def tensors(self) -> dict[str, Tensor]:
        """The tensors under their names in the file."""
        splits = {"train": self.train, "test": self.test}
        named = {f"{name}/{key}": tensor for name, split in splits.items() for key, tensor in vars(split).items()}
        return named if self.unlabelled is None else {**named, "unlabelled/images": self.unlabelled}

    def error(self, size: int) -> str | None:
        """What is wrong with the tensors, in words, or None."""
        for name, tensor in self.tensors().items():
            if name.endswith("/images") and (tensor.dtype != torch.uint8 or tensor.shape[1:] != (3, size, size)):
                return f"{name} is {tensor.dtype} {tuple(tensor.shape)}, not uint8 (N, 3, {size}, {size})"
        for name, split in (("train", self.train), ("test", self.test)):
            labels, known = split.labels, len(self.classes)
            fits = labels.dtype == torch.int64 and labels.shape == (len(split),) and len(split) > 0
            if not fits or int(labels.min()) < 0 or int(labels.max()) >= known:
                return f"{name}/labels are not int64 ({len(split)},) in [0, {known})"
        return None


@dataclass(frozen=True)
class Dataset:
    """A prepared data set. Images are (N, 3, image_size, image_size) uint8 in [0, 255].

    ``identity`` is that of the settings it was prepared from, if they had one.
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
        """The images that a method learns from without labels: the unlabelled part, else the train split."""
        return self.train.images if self.unlabelled is None else self.unlabelled

    @property
    def training_labels(self) -> Tensor | None:
        """The labels of ``training_images``, if they have any."""
        return self.train.labels if self.unlabelled is None else None

    @property
    def sizes(self) -> dict[str, int]:
        """Number of images of each split."""
        splits = {"train": self.train.images, "test": self.test.images, "unlabelled": self.unlabelled}
        return {name: len(images) for name, images in splits.items() if images is not None}

    def labelled(self) -> Self:
        """The data set without its unlabelled part, for methods that learn from labels."""
        return replace(self, unlabelled=None)

    def to(self, device: torch.device | str) -> Self:
        """A copy on ``device``."""
        unlabelled = None if self.unlabelled is None else self.unlabelled.to(device)
        return replace(self, train=self.train.to(device), test=self.test.to(device), unlabelled=unlabelled)


def content_hash(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, types, shapes and bytes of the tensors, sorted by name. Other metadata does not matter."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.cpu().numpy().data)
    return digest.hexdigest()


def save(path: Path, parts: Parts, settings: Mapping[str, Any], identity: str = "") -> dict[str, Any]:
    """Check the parts and write them atomically. Returns the summary that ``prepare`` prints.

    Raises:
        UserError: labels that do not fit the images; a class without images in a split; a full disk.
    """
    size, where = parts.train.images.shape[-1], f"data set '{settings['name']}'"
    if error := parts.error(size):
        raise UserError(f"{where}: {error}")
    for name, split in (("train", parts.train), ("test", parts.test)):
        for label in sorted({*range(len(parts.classes))} - {*split.labels.tolist()}):
            raise UserError(f"{where}: class '{parts.classes[label]}' has no image in the {name} split")
    tensors = parts.tensors()
    metadata = {
        "format": FORMAT,
        "name": str(settings["name"]),
        "classes": json.dumps(parts.classes, ensure_ascii=False),
        "content_hash": content_hash(tensors),
        "identity": identity,
        "settings": json.dumps(settings, sort_keys=True, separators=(",", ":"), ensure_ascii=False),
        "note": str(settings.get("note") or parts.note),
        "image_size": str(size),
    }
    files.save_tensors(path, tensors, metadata)
    return {
        "name": metadata["name"],
        "path": str(path),
        "content_hash": metadata["content_hash"],
        "note": metadata["note"],
        "image_size": size,
        "classes": len(parts.classes),
        "images": {name.split("/")[0]: len(tensors[name]) for name in tensors if name.endswith("/images")},
        "bytes": path.stat().st_size,
    }


def load(path: str | Path, device: torch.device | str = "cpu", verify: bool = False) -> Dataset:
    """Open a prepared data set. On the CPU, its tensors are views of the mapped file.

    Args:
        path: the file that ``prepare`` wrote.
        device: where the tensors are moved to.
        verify: read every byte and compare the content hash.

    Raises:
        UserError: the file is missing, damaged, not a prepared data set, or (with ``verify``) changed.
    """
    try:
        tensors, metadata = files.load_tensors(path)
        if metadata.get("format") != FORMAT:
            raise UserError(f"{path}: not a prepared data set (format {metadata.get('format')!r}, not {FORMAT!r})")
        classes, size = tuple(json.loads(metadata["classes"])), int(metadata["image_size"])
        train, test = (Split(tensors[f"{name}/images"], tensors[f"{name}/labels"]) for name in ("train", "test"))
        parts = Parts(classes, train, test, tensors.get("unlabelled/images"), metadata["note"])
        if error := parts.error(size):
            raise UserError(f"{path}: {error}")
        settings, digest = json.loads(metadata["settings"]), metadata["content_hash"]
        if verify and content_hash(tensors) != digest:
            raise UserError(f"{path}: corrupted, its bytes do not match its content hash")
    except (KeyError, ValueError) as error:
        raise UserError(f"{path}: damaged, {error} is missing or wrong; {AGAIN}") from error
    except UserError as error:
        raise UserError(f"{error}; {AGAIN}") from error
    name, note, identity = metadata["name"], parts.note, metadata.get("identity", "")
    dataset = Dataset(name, classes, size, digest, note, train, test, parts.unlabelled, settings, identity)
    return dataset.to(device)
