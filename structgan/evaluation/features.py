"""Frozen features: extraction in batches, the hash that proves the encoder did not change, normalisations."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from structgan.errors import UserError


def extract(encode: Callable[[Tensor], Tensor], images: Tensor, batch_size: int = 500) -> Tensor:
    """Features of uint8 images, one batch after the other, without gradients.

    Args:
        encode: (n, 3, H, W) float32 in [-1, 1] → (n, D).
        images: Shape: (N, 3, H, W), uint8, on the encoder's device.
        batch_size: images in one forward pass; memory only, the result does not depend on it.

    Returns:
        Shape: (N, D), float32, on the images' device.

    Raises:
        ValueError: images are not uint8 (N, 3, H, W), or ``encode`` does not return one vector for each image.
        UserError: a feature is NaN or infinite.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"images must be uint8 (N, 3, H, W), not {images.dtype} {tuple(images.shape)}")
    parts = []
    with torch.no_grad():
        for batch in torch.split(images, batch_size):
            features = encode(batch.float() / 127.5 - 1)
            if features.ndim != 2 or len(features) != len(batch):
                raise ValueError(f"encode must return ({len(batch)}, D), not {tuple(features.shape)}")
            parts.append(features.float())
    return finite(torch.cat(parts))


def finite(features: Tensor, what: str = "features") -> Tensor:
    """``features`` as they are, if every entry is finite.

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


@contextlib.contextmanager
def frozen(module: nn.Module, what: str = "encoder") -> Iterator[str]:
    """Yields the hash of ``module`` and checks at the end that it is still the same.

    Raises:
        UserError: the block changed a parameter or a buffer (a batch norm left in training mode is the usual cause).
    """
    before = module_hash(module)
    yield before
    if module_hash(module) != before:
        raise UserError(
            f"{what}: its weights or buffers changed while features were read; it must be frozen (eval mode)"
        )


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


def standardise(train: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
    """Zero mean and unit variance for each feature, by the statistics of ``train``; see ``scaling``.

    Shape: (N, D) each, float32.
    """
    shift, scale = scaling(train)
    # a float32 mean leaves a rest of at most its own rounding, which is small against any deviation kept here
    return tuple((part - shift) * scale for part in (train, *others))


def normalise(features: Tensor) -> Tensor:
    """Rows of unit Euclidean length. Shape: (N, D). A row of zeros stays one."""
    return nn.functional.normalize(features, dim=1)


def accuracy(predicted: Tensor, labels: Tensor) -> float:
    """Fraction of equal entries, in [0, 1]. Shape: (N,) both."""
    return float((predicted == labels).double().mean())
