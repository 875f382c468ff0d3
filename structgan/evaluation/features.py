"""Frozen features: read in batches, checked, normalized; and the hash of a network."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from structgan.errors import UserError

if TYPE_CHECKING:
    from structgan.datasets import Dataset

Scored = tuple[dict[str, Any], dict[str, Any]]
"""Metrics and protocol of one probe."""
BATCH = 500
"""Images in one forward pass. It affects memory and no number."""


@dataclass(frozen=True)
class Features:
    """Features (N, D), float32 and finite, and labels (N,), int64 in [0, classes), of both splits."""

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor

    def __post_init__(self) -> None:
        finite(self.train, "train features")
        finite(self.test, "test features")

    @cached_property
    def classes(self) -> int:
        """Number of classes."""
        return int(max(self.train_labels.max(), self.test_labels.max())) + 1

    @cached_property
    def standardized(self) -> tuple[Tensor, ...]:
        """Both splits with zero mean and unit variance on train."""
        return standardize(self.train, self.test)

    @property
    def sizes(self) -> dict[str, Any]:
        """What a protocol says of the splits."""
        return {"split": "train→test", "n_train": len(self.train), "n_test": len(self.test)}


def read(encode: Callable[[Tensor], Tensor], dataset: "Dataset") -> Features:
    """Features of a data set, which is on the encoder's device. ``encode`` as in ``extract``."""
    train, test = (extract(encode, split.images) for split in (dataset.train, dataset.test))
    return Features(train, dataset.train.labels, test, dataset.test.labels)


def extract(encode: Callable[[Tensor], Tensor], images: Tensor, batch_size: int = BATCH) -> Tensor:
    """Features of uint8 images, without gradients, on the images' device.

    Args:
        encode: (n, 3, H, W) float32 in [-1, 1] → (n, D).
        images: Shape: (N, 3, H, W), uint8, on the encoder's device.
        batch_size: images in one forward pass.

    Returns:
        Shape: (N, D), float32.

    Raises:
        ValueError: ``encode`` does not return one vector for each image.
        UserError: a feature is NaN or infinite.
    """
    with torch.no_grad():
        found = torch.cat([encode(batch.float() / 127.5 - 1).float() for batch in torch.split(images, batch_size)])
    if found.ndim != 2 or len(found) != len(images):
        raise ValueError(f"encode must return ({len(images)}, D), not {tuple(found.shape)}")
    return finite(found)


def finite(features: Tensor, what: str = "features") -> Tensor:
    """The same features (N, D).

    Raises:
        UserError: some are NaN or infinite, as after a training that diverged.
    """
    bad = int((~torch.isfinite(features)).any(dim=1).sum())
    if bad:
        raise UserError(f"{what}: NaN or infinity in {bad} of {len(features)} rows: the encoder has diverged")
    return features


def module_hash(module: nn.Module) -> str:
    """SHA-256 over the names, dtypes, shapes and bytes of a module's parameters and buffers, in hexadecimal."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
    return digest.hexdigest()


def scaling(train: Tensor) -> tuple[Tensor, Tensor]:
    """Shift and scale of each feature that give zero mean and unit variance: (x - shift) * scale.

    A feature that is constant on ``train`` (its deviation is within float32 rounding of its mean) has the scale 0.
    Shape: (N, D) float32 to (D,) both, float32; the statistics are accumulated in float64.
    """
    mean = train.mean(dim=0, dtype=torch.float64)
    squares = torch.zeros_like(mean)
    for chunk in torch.split(train, 4096):
        squares += (chunk.double() - mean).square().sum(dim=0)
    deviation = (squares / len(train)).sqrt()
    constant = deviation <= 10 * torch.finfo(torch.float32).eps * mean.abs()
    return mean.float(), torch.where(constant, 0.0, 1 / deviation.clamp_min(1e-300)).float()


def standardize(train: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
    """Zero mean and unit variance for each feature, by the statistics of ``train``. Shape: (N, D) each, float32."""
    shift, scale = scaling(train)
    # rounding the mean to float32 leaves an error that is small against any deviation that scaling() keeps
    return tuple((part - shift) * scale for part in (train, *others))


def normalize(features: Tensor) -> Tensor:
    """Rows of unit Euclidean length; a row of zeros stays zero. Shape: (N, D)."""
    return nn.functional.normalize(features, dim=1)


def accuracy(predicted: Tensor, labels: Tensor) -> float:
    """Fraction of equal entries, in [0, 1]. Shape: (N,) both."""
    return float((predicted == labels).double().mean())
