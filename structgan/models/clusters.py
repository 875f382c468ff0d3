"""K-means clusters that are found again as features change, and keep their ids.

K-means is scikit-learn's, the matching SciPy's, both on the host and on one thread: sums over several threads differ in
their last digits each time, and a resumed run would not equal the uninterrupted one.
"""

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits
from torch import Tensor, nn


def induced_means(features: Tensor, ids: Tensor, k: int, rng: torch.Generator) -> Tensor:
    """Mean of each cluster; an empty one has a random sample. Shape: features (N, D), ids (N,) in 0..k-1, to (k, D)."""
    counts = torch.bincount(ids, minlength=k)
    means = features.new_zeros(k, features.shape[1]).index_add_(0, ids, features) / counts.clamp(min=1)[:, None]
    empty = (counts == 0).nonzero()[:, 0]
    means[empty] = features[torch.randint(len(features), (len(empty),), generator=rng, device=rng.device)]
    return means


def kept_ids(new: Tensor, old: Tensor, k: int) -> Tensor:
    """The old id of each new cluster, one to one, such that most samples keep theirs (Hungarian method).

    Shape: the samples' clusters in 0..k-1, (N,) each, to (k,).
    """
    shared = torch.bincount(new * k + old, minlength=k * k).view(k, k)
    return torch.from_numpy(linear_sum_assignment(shared.cpu().numpy(), maximize=True)[1]).to(new.device)


class Clusters(nn.Module):
    """K-means of a fixed set of samples, fitted again whenever their features have changed.

    The first fit starts from k-means++ seeds. A later one starts from the old clusters' means under the new features,
    and its clusters take the ids of the old ones that they overlap most (Liu et al. 2020, arXiv 2006.10728).

    Args:
        k, samples, features: clusters, samples (at least ``k``) and the length of their features.
        starts: of the first fit; the best one is kept.
        max_iter, tol: of scikit-learn's KMeans.
    """

    centers: Tensor
    ids: Tensor
    fits: Tensor

    def __init__(self, k: int, samples: int, features: int, starts: int, max_iter: int, tol: float) -> None:
        super().__init__()
        self.k, self.starts, self.options = k, starts, {"max_iter": max_iter, "tol": tol}
        self.register_buffer("centers", torch.zeros(k, features))
        self.register_buffer("ids", torch.zeros(samples, dtype=torch.long))
        self.register_buffer("fits", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def fit(self, features: Tensor, rng: torch.Generator) -> None:
        """Find centers and ids for the samples' current features. Shape: (samples, features), in the samples' order."""
        seed = int(torch.randint(2**31, (), generator=rng, device=rng.device))
        again = bool(self.fits)
        start = induced_means(features, self.ids, self.k, rng).cpu().numpy() if again else "k-means++"
        search = KMeans(self.k, init=start, n_init=1 if again else self.starts, random_state=seed, **self.options)
        with threadpool_limits(1):
            found = search.fit(features.cpu().numpy())
        new = torch.from_numpy(found.labels_.astype(np.int64)).to(self.ids.device)
        taken = kept_ids(new, self.ids, self.k) if again else torch.arange(self.k, device=new.device)
        self.centers[taken] = torch.from_numpy(found.cluster_centers_).to(self.centers)
        self.ids.copy_(taken[new])
        self.fits.add_(1)

    def nearest(self, features: Tensor) -> Tensor:
        """The id of each feature's nearest center. Shape: (N, features) to (N,)."""
        return torch.cdist(features, self.centers).argmin(1)

    def counts(self) -> Tensor:
        """Samples of each cluster. Shape: (k,), int64."""
        return torch.bincount(self.ids, minlength=self.k)
