"""The prepared file: uint8 images and labels as safetensors, mapped into memory.

Tensors: ``{train,test}/{images,labels}`` and, where there is an unlabelled part, ``unlabelled/images``. Metadata:
format, name, classes, content_hash, identity, settings, note, image_size.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
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

    def check(self, size: int, where: str) -> None:
        """Raise a UserError if images are not uint8 (N, 3, size, size), or labels do not fit them or the classes."""
        for name, tensor in self.tensors().items():
            if name.endswith("/images") and (tensor.dtype != torch.uint8 or tensor.shape[1:] != (3, size, size)):
                wanted = f"uint8 (N, 3, {size}, {size})"
                raise UserError(f"{where}: {name} is {tensor.dtype} {tuple(tensor.shape)}, not {wanted}")
        for name, split in (("train", self.train), ("test", self.test)):
            labels, known = split.labels, len(self.classes)
            fits = labels.dtype == torch.int64 and labels.shape == (len(split),) and len(split) > 0
            if not fits or int(labels.min()) < 0 or int(labels.max()) >= known:
                raise UserError(f"{where}: {name}/labels are not int64 ({len(split)},) in [0, {known})")


@dataclass(frozen=True, kw_only=True)
class Dataset(Parts):
    """A prepared data set; ``identity`` is that of the settings it was prepared from, if they had one."""

    name: str
    image_size: int
    content_hash: str
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
        """Number of images of each part."""
        return {name.split("/")[0]: len(images) for name, images in self.tensors().items() if name.endswith("/images")}

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
    parts.check(size, where)
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
        **{key: metadata[key] for key in ("name", "content_hash", "note")},
        "path": str(path),
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
        train, test = (Split(tensors[f"{name}/images"], tensors[f"{name}/labels"]) for name in ("train", "test"))
        dataset = Dataset(
            classes=tuple(json.loads(metadata["classes"])),
            train=train,
            test=test,
            unlabelled=tensors.get("unlabelled/images"),
            image_size=int(metadata["image_size"]),
            **{key: metadata[key] for key in ("note", "name", "content_hash", "identity")},
        )
        dataset.check(dataset.image_size, str(path))
        if verify and content_hash(tensors) != dataset.content_hash:
            raise UserError(f"{path}: corrupted, its bytes do not match its content hash")
    except (KeyError, ValueError) as error:
        raise UserError(f"{path}: damaged, {error} is missing or wrong; {AGAIN}") from error
    except UserError as error:
        raise UserError(f"{error}; {AGAIN}") from error
    return dataset.to(device)
