"""Fine scale: each sample is drawn to its nearest real neighbours, found by features of the EMA discriminator."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from structgan import parallel
from structgan.errors import UserError
from structgan.precision import exact


class Nearest(NamedTuple):
    """The nearest real samples of a batch, as indices into the pool: its real samples of all processes, then a bank.

    Attributes:
        features: of all real samples of the batch, unit vectors. Shape: (N of all processes, D).
        of_real: neighbours of this process's real samples, none of which is its own. Shape: (N, k).
        of_fake: neighbours of its generated ones. Shape: (N, k).
    """

    features: Tensor
    of_real: Tensor
    of_fake: Tensor


def search(real: Tensor, fake: Tensor, bank: Tensor, k: int, where: str, skip: int = 0) -> Nearest:
    """The nearest real samples of real and of generated ones, in the batch and the bank.

    Args:
        real: features of this process's real samples, unit vectors. Shape: (N, D).
        fake: of its generated ones. Shape: (N, D).
        bank: of earlier real samples. Shape: (M, D).
        k: how many neighbours, at least 1.
        where: the key of the configuration that holds ``cluster``, for an error.
        skip: how many best matches of a generated sample to drop first.

    Raises:
        UserError: there are fewer real samples than that.
    """
    features = parallel.gather(real)
    pool = torch.cat([features, bank])
    if k + max(1, skip) > len(pool):  # a real sample leaves itself out
        raise UserError(f"{where}.cluster.k = {k}: must be less than training.batch_size + cluster.bank = {len(pool)}")
    own = parallel.share(torch.arange(len(features), device=real.device))
    return Nearest(features, neighbours(real, pool, k, own=own), neighbours(fake, pool, k, skip=skip))


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
