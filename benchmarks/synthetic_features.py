"""Features of CIFAR's real size without a download: drawn and seeded, and as hard for a solver as real ones.

Each class is a mixture of Gaussians, so that classes overlap, and the spectrum falls as that of a ResNet's features on
CIFAR-10 does: a condition number of 10^5, with which a plain solver needs hundreds of iterations.
"""

from __future__ import annotations

import torch
from torch import Tensor

DIMENSIONS, MODES = 512, 4
DECAY = 0.85
"""The i-th principal direction has deviation i^-DECAY. Variances of a random ResNet-18's standardized features (2,500
images of CIFAR-10) were 0.03, 9e-4 and 6e-6 of the largest at about i = 10, 100 and 512."""
INFORMATIVE = 64
"""Leading directions in which the modes' centers differ."""
APART = {10: 0.45, 30: 0.6, 100: 0.8}
"""Deviation of the modes' centers, in deviations within a mode, by the number of classes."""


def draw(classes: int, sizes: tuple[int, int]) -> list[tuple[Tensor, Tensor]]:
    """Features and labels of both splits, the same at every call. Shape: (N, 512) float32, (N,) int64."""
    generator = torch.Generator().manual_seed(0)
    scale = torch.arange(1, DIMENSIONS + 1).float().pow(-DECAY)
    turn = torch.linalg.qr(torch.randn(DIMENSIONS, DIMENSIONS, generator=generator)).Q
    centers = APART[classes] * torch.randn(classes * MODES, DIMENSIONS, generator=generator)
    centers[:, INFORMATIVE:] = 0
    splits = []
    for n in sizes:
        labels = torch.randint(classes, (n,), generator=generator)
        modes = labels * MODES + torch.randint(MODES, (n,), generator=generator)
        parts = [
            (centers[part] + torch.randn(len(part), DIMENSIONS, generator=generator)) * scale @ turn
            for part in torch.split(modes, 5000)
        ]
        splits.append((torch.cat(parts), labels))
    return splits
