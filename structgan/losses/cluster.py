"""Fine scale: each sample is drawn to its nearest real neighbors, found by features of the EMA discriminator."""

from __future__ import annotations

import torch
from torch import Tensor

from structgan import distributed
from structgan.errors import UserError
from structgan.precision import exact


class Candidates:
    """The real samples among which neighbors are looked for: those of the batch, then those of a bank.

    Indices count the batch's real samples of all processes, then the bank's. With ``per_process``, a sample sees of the
    batch only its own group of consecutive samples.

    Args:
        real: features of this process's real samples, unit vectors. Shape: (N, D).
        bank: of earlier real samples. Shape: (M, D).
        k: how many neighbors, at least 1.
        where: the key of the configuration that holds ``cluster``, for an error.
        skip: how many best matches of a generated sample to drop first; a real sample always drops itself.
        per_process: samples of a group; None: all of the batch.

    Attributes:
        features: of all real samples of the batch, unit vectors. Shape: (N of all processes, D).

    Raises:
        UserError: there are fewer candidates than neighbors.
    """

    def __init__(
        self, real: Tensor, bank: Tensor, k: int, where: str, skip: int = 0, per_process: int | None = None
    ) -> None:
        self.features = distributed.gather(real)
        self.pool, self.real, self.k, self.skip = torch.cat([self.features, bank]), real, k, skip
        size = distributed.group_size(len(self.features), per_process)
        if k + max(1, skip) > size + len(bank):
            raise UserError(
                f"{where}.cluster.k = {k}: must be less than images of a process + cluster.bank = {size + len(bank)}"
            )
        index = torch.arange(len(self.features), device=real.device)
        self.own = distributed.shard(index)
        self.others = self.own[:, None] // size != index // size  # (N, N of all processes)

    def of_real(self) -> Tensor:
        """The neighbors of this process's real samples, none of which is its own. Shape: (N, k), best first."""
        itself = self.own[:, None] == torch.arange(len(self.features), device=self.own.device)
        return neighbors(self.real, self.pool, self.k, self.others | itself)

    def of_fake(self, fake: Tensor) -> Tensor:
        """The neighbors of this process's generated samples. Shape: unit vectors (N, D) to (N, k), best first."""
        return neighbors(fake, self.pool, self.k, self.others, self.skip)


@exact
def neighbors(queries: Tensor, pool: Tensor, k: int, excluded: Tensor | None = None, skip: int = 0) -> Tensor:
    """Indices of the k nearest pool entries by cosine.

    Args:
        queries: unit vectors. Shape: (N, D).
        pool: unit vectors. Shape: (P, D).
        k: how many neighbors, at least 1.
        excluded: whether a query leaves out an entry, for the first B entries. Shape: (N, B), bool.
        skip: how many best matches to drop first (the authors' release drops one for generated samples too).

    Returns:
        Indices into the pool, best first. Shape: (N, k).
    """
    similarity = queries @ pool.T  # (N, P)
    if excluded is not None:
        similarity[:, : excluded.shape[1]].masked_fill_(excluded, float("-inf"))
    return similarity.topk(k + skip, dim=1).indices[:, skip:]


@exact
def similarity(embeddings: Tensor, pool: Tensor, indices: Tensor) -> Tensor:
    """s: the mean cosine of embeddings with their neighbors' embeddings.

    Shape: embeddings (N, C) and pool (P, C), unit vectors; indices (N, k). The result is a scalar in [-1, 1].
    """
    return torch.einsum("nc,nkc->nk", embeddings, pool[indices]).mean()
