"""K-means on features; and with unit centers, as in the release of Zhang & Maire 2023."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

MOST = 0.5  # above this share of uncertain samples, all are assigned again, which saves gathering rows


@dataclass(frozen=True)
class Clustering:
    """The best of several starts.

    Attributes:
        centers: Shape: (K, D), float32.
        inertia: sum of squared distances of the samples to their centers.
        iterations: of the best start.
        converged: whether the best start met its tolerance before ``max_iter``.
    """

    centers: Tensor
    inertia: float
    iterations: int
    converged: bool


def scores(features: Tensor, centers: Tensor) -> Tensor:
    """x·c − ½‖c‖², which is largest for the nearest center. Shape: (N, D), (K, D) → (N, K)."""
    return torch.addmm(0.5 * centers.square().sum(dim=1), features, centers.T, beta=-1)


def assign(features: Tensor, centers: Tensor) -> tuple[Tensor, Tensor]:
    """Nearest center of each sample, for several sets of centers at once.

    Shape: features (N, D), centers (S, K, D) → index (N, S) int64, squared distance (N, S).
    """
    best, index = scores(features, centers.flatten(0, 1)).view(len(features), *centers.shape[:2]).max(dim=2)
    return index, (features.square().sum(dim=1, keepdim=True) - 2 * best).clamp_min_(0)


def plus_plus(features: Tensor, k: int, starts: int, generator: torch.Generator) -> Tensor:
    """k-means++ seeds for each start (Arthur & Vassilvitskii 2007): the next one with probability ∝ squared distance.

    Shape: features (N, D) → (S, K, D). The draws come from a CPU generator, so that every device has the same.

    Raises:
        ValueError: fewer samples than clusters.
    """
    n = len(features)
    if n < k:
        raise ValueError(f"{n} samples cannot make {k} clusters")
    picks = torch.randint(n, (starts,), generator=generator).to(features.device)
    centers = [features[picks]]
    nearest = torch.full((n, starts), math.inf, device=features.device)
    for _ in range(1, k):
        nearest = torch.minimum(nearest, assign(features, centers[-1][:, None])[1])
        cumulative = nearest.double().cumsum(dim=0)
        draw = torch.rand(starts, generator=generator, dtype=torch.float64).to(features.device) * cumulative[-1]
        picks = torch.searchsorted(cumulative.T.contiguous(), draw[:, None]).squeeze(1).clamp_max_(n - 1)
        centers.append(features[picks])
    return torch.stack(centers, dim=1)


def totals(features: Tensor, index: Tensor, k: int) -> Tensor:
    """Sums of the samples of each cluster. Shape: features (N, D), index (N,) → (K, D), float64."""
    return (features.new_zeros(len(features), k).scatter_(1, index[:, None], 1.0).T @ features).double()


def means(features: Tensor, sums: Tensor, index: Tensor, centers: Tensor) -> Tensor:
    """Means of the clusters; an empty cluster moves to the sample that lies farthest from its center.

    Shape: features (N, D), sums (K, D), index (N,), centers (K, D), where the samples were assigned → (K, D).
    """
    counts = torch.bincount(index, minlength=len(centers))
    moved = (sums / counts.clamp_min(1)[:, None]).to(features.dtype)
    holes = (counts == 0).nonzero().flatten()
    if len(holes):
        distance = assign(features, centers[None])[1][:, 0]
        moved[holes] = features[distance.topk(len(holes)).indices]
    return moved


class Search:
    """Lloyd's iterations from one start, which skip the samples that cannot have changed their cluster.

    A sample's distance to its own center grows by at most that center's step. Its distance to any other center shrinks
    by at most the largest step of the others (Hamerly 2010). While these bounds stay apart, no distance is computed.
    The sums of clusters are updated by the samples that move. The result is that of Lloyd's plain iterations.
    """

    def __init__(self, features: Tensor, centers: Tensor) -> None:
        self.features, self.centers = features, centers
        self.margin = 1e-4 * float(features.norm(dim=1).max())  # well above float32's rounding of a distance
        self.index, self.near, self.far = self.nearest_two(features)
        self.sums = totals(features, self.index, len(centers))

    def nearest_two(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Index of the nearest center, its distance, and the second nearest's distance. Shape: (n, D) → (n,) each."""
        by_center, squares = scores(features, self.centers), features.square().sum(dim=1)
        best, index = by_center.max(dim=1)
        second = by_center.scatter_(1, index[:, None], -math.inf).amax(dim=1)
        near, far = ((squares - 2 * score).clamp_min_(0).sqrt_() for score in (best, second))
        return index, near, far

    def step(self) -> float:
        """Move the centers to the means of their clusters; returns the sum of squares of the steps."""
        moved = means(self.features, self.sums, self.index, self.centers)
        length = (moved - self.centers).norm(dim=1)
        self.centers = moved
        self.near += length[self.index]
        largest = length.topk(min(2, len(length)))
        self.far -= torch.where(self.index == largest.indices[0], largest.values[-1], largest.values[0])
        return float(length.square().sum())

    def reassign(self) -> None:
        """Find the nearest centers again, where they may have changed."""
        uncertain = self.near + self.margin >= self.far
        rows = slice(None) if float(uncertain.float().mean()) > MOST else uncertain.nonzero().flatten()
        samples, before, k = self.features[rows], self.index[rows], len(self.centers)
        index, near, far = self.nearest_two(samples)
        changed = index != before
        moved = samples[changed]
        self.sums += totals(moved, index[changed], k) - totals(moved, before[changed], k)
        self.index[rows], self.near[rows], self.far[rows] = index, near, far


def lloyd(features: Tensor, centers: Tensor, max_iter: int, tol: float) -> Clustering:
    """Lloyd's iterations from each of the given starts; the one with the least inertia is returned.

    A start is finished when its centers move by at most ``tol`` times the features' mean variance (sum of squares, as
    in sklearn). Shape: features (N, D), centers (S, K, D).
    """
    limit = tol * float(features.var(dim=0, correction=0).mean())
    found = []
    for start in centers:
        search, converged, iteration = Search(features, start), False, 0
        while not converged and iteration < max_iter:
            converged, iteration = search.step() <= limit, iteration + 1
            if not converged:
                search.reassign()
        inertia = float(assign(features, search.centers[None])[1].double().sum())
        found.append(Clustering(search.centers, inertia, iteration, converged))
    return min(found, key=lambda one: one.inertia)


def kmeans(features: Tensor, k: int, starts: int, seed: int, max_iter: int, tol: float) -> Clustering:
    """The best of ``starts`` runs of k-means from k-means++ seeds. Shape: features (N, D), float32."""
    return lloyd(features, plus_plus(features, k, starts, torch.Generator().manual_seed(seed)), max_iter, tol)


def kmeans_unit(features: Tensor, k: int, starts: int, seed: int, max_iter: int, tol: float) -> Clustering:
    """K-means with centers that are scaled to unit length after each mean, as the release of Zhang & Maire 2023 has it.

    A start ends when its centers together move by at most ``tol``. The best start has the least mean distance, which is
    ``inertia`` here. Seeds are plain k-means++, and an empty cluster moves to the sample farthest from its center; the
    release draws greedily by distance and splits a large cluster. Shape: features (N, D), float32.
    """
    found = []
    for centers in plus_plus(features, k, starts, torch.Generator().manual_seed(seed)):
        converged, iteration = False, 0
        while not converged and iteration < max_iter:
            index, iteration = assign(features, centers[None])[0][:, 0], iteration + 1
            moved = torch.nn.functional.normalize(means(features, totals(features, index, k), index, centers), dim=1)
            converged = bool((moved - centers).norm() <= tol)
            centers = moved
        distance = float(assign(features, centers[None])[1].sqrt().mean())
        found.append(Clustering(centers, distance, iteration, converged))
    return min(found, key=lambda one: one.inertia)
