"""Features whose classes are Gaussian blobs, as near to each other as a test needs them."""

import math

import torch
from torch import Tensor


def blobs(n: int, classes: int, dim: int, distance: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Gaussian classes around fixed random centers; correlated dimensions, as features have."""
    centers = torch.randn(classes, dim, generator=torch.Generator().manual_seed(99)) * distance
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    mixing = torch.randn(dim, dim, generator=torch.Generator().manual_seed(7)) / math.sqrt(dim) + torch.eye(dim)
    return (centers[labels] + torch.randn(n, dim, generator=generator)) @ mixing, labels
