"""Fine scale: each sample is drawn to its nearest real neighbours, found by features of the EMA discriminator."""

from __future__ import annotations

import torch
from torch import Tensor

from structgan.precision import exact


@exact
def neighbours(queries: Tensor, pool: Tensor, k: int, own: Tensor | None = None, skip: int = 0) -> Tensor:
    """Indices of the k nearest pool entries by cosine.

    Args:
        queries: unit vectors. Shape: (N, D).
        pool: unit vectors. Shape: (P, D).
        k: how many neighbours, at least 1.
        own: for each query the index of itself in the pool, which is left out. Shape: (N,).
        skip: how many best matches to drop first (the authors' release drops one for generated samples too).

    Returns:
        Indices into the pool, best first. Shape: (N, k).
    """
    similarity = queries @ pool.T  # (N, P)
    if own is not None:
        similarity.scatter_(1, own[:, None], float("-inf"))
    return similarity.topk(k + skip, dim=1).indices[:, skip:]


@exact
def similarity(embeddings: Tensor, pool: Tensor, indices: Tensor) -> Tensor:
    """s: the mean cosine of embeddings with their neighbours' embeddings.

    Shape: embeddings (N, C) and pool (P, C), unit vectors; indices (N, k). The result is a scalar in [-1, 1].
    """
    return torch.einsum("nc,nkc->nk", embeddings, pool[indices]).mean()
