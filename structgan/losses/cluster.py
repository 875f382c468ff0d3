"""Fine scale: each sample is drawn to its nearest real neighbors, found by features of the EMA discriminator."""

import torch
from torch import Tensor

from structgan import distributed
from structgan.errors import UserError
from structgan.precision import exact


class Candidates:
    """The real samples that can be neighbors: those of the batch on all processes, then those of a bank.

    Args:
        real: features of this process's real samples, unit vectors. Shape: (N, D).
        bank: features of earlier real samples, unit vectors. Shape: (M, D).
        k: neighbors of a sample, at least 1.
        where: the key of the configuration that holds ``cluster``, for an error.
        skip: best matches of a generated sample that are left out; the authors' release has 1.
        per_process: a sample sees only its own group of so many consecutive samples of the batch; None: all of them.

    Attributes:
        features: of the batch's real samples on all processes. Shape: (N of all processes, D).

    Raises:
        UserError: there are fewer candidates than neighbors, or fewer in the bank.
    """

    def __init__(
        self, real: Tensor, bank: Tensor, k: int, where: str, skip: int = 0, per_process: int | None = None
    ) -> None:
        self.features = distributed.gather(real)
        self.pool, self.real, self.k, self.skip = torch.cat([self.features, bank]), real, k, skip
        size = distributed.group_size(len(self.features), per_process)
        if 0 < len(bank) < k:
            raise UserError(f"{where}.cluster.bank = {len(bank)}: must be 0 or at least cluster.k = {k}")
        if k + max(1, skip) > size + len(bank):
            raise UserError(
                f"{where}.cluster.k = {k}: must be less than images of a process + cluster.bank = {size + len(bank)}"
            )
        index = torch.arange(len(self.features), device=real.device)
        own = distributed.shard(index)[:, None]
        self.others = own // size != index // size  # (N, N of all processes)
        self.itself = own == index

    def of_real(self) -> Tensor:
        """Indices of the real samples' neighbors, never their own. Shape: (N, k), best first."""
        return self._nearest(self.real, self.others | self.itself, 0)

    def of_fake(self, fake: Tensor) -> Tensor:
        """Indices of the neighbors of generated samples. Shape: unit vectors (N, D) to (N, k), best first."""
        return self._nearest(fake, self.others, self.skip)

    def _nearest(self, queries: Tensor, excluded: Tensor, skip: int) -> Tensor:
        cosines = exact(torch.matmul)(queries, self.pool.T)
        cosines[:, : excluded.shape[1]].masked_fill_(excluded, -torch.inf)
        return cosines.topk(self.k + skip, dim=1).indices[:, skip:]


@exact
def similarity(embeddings: Tensor, pool: Tensor, indices: Tensor) -> Tensor:
    """s: the mean cosine of embeddings with their neighbors' embeddings.

    Shape: embeddings (N, C) and pool (P, C), unit vectors; indices (N, k). The result is a scalar in [-1, 1].
    """
    return torch.einsum("nc,nkc->nk", embeddings, pool[indices]).mean()
