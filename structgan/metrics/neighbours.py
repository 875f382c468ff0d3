"""The weighted k-nearest-neighbour classifier by cosine (Wu et al. 2018, "Unsupervised Feature Learning via
Non-Parametric Instance Discrimination", section 3.4), one block of queries at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from structgan.metrics.features import normalise

BLOCK_ENTRIES = 1 << 25  # entries of one block of similarities: 128 MB in float32


def predict(train: Tensor, labels: Tensor, queries: Tensor, classes: int, k: int, temperature: float) -> Tensor:
    """Class with the largest sum of exp(cosine / temperature) over the k nearest training samples.

    Args:
        train: Shape: (N, D). labels: Shape: (N,), int64 in [0, classes). queries: Shape: (M, D).

    Returns:
        Shape: (M,), int64.

    Raises:
        ValueError: k is not in [1, N], or the temperature is not positive.
    """
    if not 1 <= k <= len(train) or temperature <= 0:
        raise ValueError(f"k={k} must be in [1, {len(train)}] and temperature={temperature} positive")
    columns = normalise(train).T.contiguous()
    parts = []
    for block in torch.split(normalise(queries), max(1, BLOCK_ENTRIES // len(train))):
        similarity, index = (block @ columns).topk(k, dim=1)
        # relative to the nearest one: the same vote, and no overflow at a low temperature
        weight = ((similarity - similarity[:, :1]) / temperature).exp()
        votes = torch.zeros(len(block), classes, device=block.device).scatter_add_(1, labels[index], weight)
        parts.append(votes.argmax(dim=1))
    return torch.cat(parts)
