"""K-means with all its starts at once; and with unit centers, as in the release of Zhang & Maire 2023."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

CHUNK_ENTRIES = 1 << 25  # entries of the largest temporary matrix: 128 MB in float32
MOST = 0.5  # above this share of uncertain samples, all starts are computed at once, without gathering rows


@dataclass(frozen=True)
class Clustering:
    """The best of several starts.

    Attributes:
        centers: Shape: (K, D), float32.
        inertia: sum of squared distances of the samples to their centers.
        iterations: Lloyd iterations of the best start.
        converged: whether the best start met its tolerance before ``max_iter``.
    """

    centers: Tensor
    inertia: float
    iterations: int
    converged: bool


def assign(features: Tensor, centers: Tensor) -> tuple[Tensor, Tensor]:
    """Nearest center of each sample, for several sets of centers at once.

    Shape: features (N, D), centers (S, K, D) → index (N, S) int64, squared distance (N, S).
    """
    starts, k, d = centers.shape
    flat = centers.reshape(starts * k, d)
    half = 0.5 * flat.square().sum(dim=1)
    rows = max(1, CHUNK_ENTRIES // len(flat))
    parts = []
    for chunk in torch.split(features, rows):
        scores = torch.addmm(half, chunk, flat.T, beta=-1).view(len(chunk), starts, k)  # x·c − ½‖c‖²
        best, index = scores.max(dim=2)
        parts.append((index, (chunk.square().sum(dim=1, keepdim=True) - 2 * best).clamp_min_(0)))
    return torch.cat([index for index, _ in parts]), torch.cat([distance for _, distance in parts])


def plus_plus(features: Tensor, k: int, starts: int, generator: torch.Generator) -> Tensor:
    """k-means++ seeds for each start (Arthur & Vassilvitskii 2007): the next one with probability ∝ squared distance.

    Shape: features (N, D) → (S, K, D). The draws come from a CPU generator, so that every device has the same.
    """
    n = len(features)
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


def nearest_two(features: Tensor, squares: Tensor, centers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Nearest center of each sample, its distance, and the distance of the second nearest, for several sets at once.

    Shape: features (N, D), squares (N,), their squared lengths, centers (S, K, D) → (N, S) each: int64, float, float.
    """
    starts, k, d = centers.shape
    flat = centers.reshape(starts * k, d)
    half = 0.5 * flat.square().sum(dim=1)
    rows = max(1, CHUNK_ENTRIES // len(flat))
    parts = []
    for chunk, lengths in zip(torch.split(features, rows), torch.split(squares, rows), strict=True):
        scores = torch.addmm(half, chunk, flat.T, beta=-1).view(len(chunk), starts, k)  # x·c − ½‖c‖²
        best, index = scores.max(dim=2, keepdim=True)
        second = scores.scatter_(2, index, -math.inf).amax(dim=2)
        near, far = ((lengths[:, None] - 2 * score).clamp_min_(0).sqrt_() for score in (best[:, :, 0], second))
        parts.append((index[:, :, 0], near, far))
    index, near, far = (torch.cat(part) for part in zip(*parts, strict=True))
    return index, near, far


def totals(features: Tensor, index: Tensor, k: int) -> Tensor:
    """Sums of the samples of each cluster. Shape: features (N, D), index (N, S) → (S, K, D), float64."""
    starts = index.shape[1]
    flat = index + k * torch.arange(starts, device=index.device)
    sums = torch.zeros(starts * k, features.shape[1], dtype=torch.float64, device=features.device)
    rows = max(1, CHUNK_ENTRIES // (starts * k))
    for chunk, clusters in zip(torch.split(features, rows), torch.split(flat, rows), strict=True):
        sums += features.new_zeros(len(chunk), starts * k).scatter_(1, clusters, 1.0).T @ chunk
    return sums.view(starts, k, -1)


def means(features: Tensor, sums: Tensor, index: Tensor, centers: Tensor) -> Tensor:
    """Means of one start's clusters; an empty cluster moves to the sample that lies farthest from its center.

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
    """Lloyd's iterations from several starts, which skip the samples that cannot have changed their cluster.

    A sample's distance to its own center grows by at most that center's step. Its distance to any other center shrinks
    by at most the largest step of the others (Hamerly 2010). While these bounds stay apart, no distance is computed.
    The sums of clusters are updated by the samples that move. The result is that of Lloyd's plain iterations.
    """

    def __init__(self, features: Tensor, centers: Tensor) -> None:
        self.features, self.centers = features, centers.clone()
        self.squares = features.square().sum(dim=1)
        self.margin = 1e-4 * float(self.squares.max().sqrt())  # well above float32's rounding of a distance
        self.index, self.near, self.far = nearest_two(features, self.squares, centers)
        self.sums = totals(features, self.index, centers.shape[1])

    def step(self, starts: Tensor) -> Tensor:
        """Move the centers of some starts to the means. Shape: (A,) → (A,): sum of squares of the steps."""
        travelled = []
        for start in starts.tolist():
            index, centers = self.index[:, start], self.centers[start]
            moved = means(self.features, self.sums[start], index, centers)
            length = (moved - centers).norm(dim=1)
            self.centers[start] = moved
            self.near[:, start] += length[index]
            largest = length.topk(min(2, len(length)))
            others = torch.where(index == largest.indices[0], largest.values[-1], largest.values[0])
            self.far[:, start] -= others
            travelled.append(length.square().sum())
        return torch.stack(travelled)

    def reassign(self, starts: Tensor) -> None:
        """Find the nearest centers again, where they may have changed."""
        uncertain = self.near[:, starts] + self.margin >= self.far[:, starts]
        if float(uncertain.float().mean()) > MOST:
            found = nearest_two(self.features, self.squares, self.centers[starts])
            for column, start in enumerate(starts.tolist()):
                self.update(start, slice(None), *(part[:, column] for part in found))
            return
        for column, start in enumerate(starts.tolist()):
            rows = uncertain[:, column].nonzero().flatten()
            found = nearest_two(self.features[rows], self.squares[rows], self.centers[start][None])
            self.update(start, rows, *(part[:, 0] for part in found))

    def update(self, start: int, rows: Tensor | slice, index: Tensor, near: Tensor, far: Tensor) -> None:
        """Store new assignments of some samples of one start. Shape: (n,) each."""
        before = self.index[rows, start]
        changed = (index != before).nonzero().flatten()
        which = changed if isinstance(rows, slice) else rows[changed]
        samples, k = self.features[which], self.centers.shape[1]
        self.sums[start] += totals(samples, index[changed, None], k)[0] - totals(samples, before[changed, None], k)[0]
        self.index[rows, start], self.near[rows, start], self.far[rows, start] = index, near, far


def lloyd(features: Tensor, centers: Tensor, max_iter: int, tol: float) -> Clustering:
    """Lloyd's iterations from each of the given starts; the one with the least inertia is returned.

    A start is finished when its centers move by at most ``tol`` times the features' mean variance (sum of squares, as
    in sklearn). Shape: features (N, D), centers (S, K, D).
    """
    limit = tol * float(features.var(dim=0, correction=0).mean())
    search = Search(features, centers)
    active = torch.arange(len(centers), device=features.device)
    finished = torch.full((len(centers),), max_iter + 1, device=features.device)
    for iteration in range(1, max_iter + 1):
        done = search.step(active) <= limit
        finished[active[done]] = iteration
        active = active[~done]
        if not len(active):
            break
        search.reassign(active)
    inertia = assign(features, search.centers)[1].double().sum(dim=0)
    best = int(inertia.argmin())
    return Clustering(
        centers=search.centers[best],
        inertia=float(inertia[best]),
        iterations=min(int(finished[best]), max_iter),
        converged=bool(finished[best] <= max_iter),
    )


def kmeans(features: Tensor, k: int, starts: int, seed: int, max_iter: int, tol: float) -> Clustering:
    """The best of ``starts`` runs of k-means from k-means++ seeds. Shape: features (N, D), float32.

    Raises:
        ValueError: fewer samples than clusters.
    """
    if len(features) < k:
        raise ValueError(f"{len(features)} samples cannot make {k} clusters")
    generator = torch.Generator().manual_seed(seed)
    return lloyd(features, plus_plus(features, k, starts, generator), max_iter, tol)


def kmeans_unit(features: Tensor, k: int, starts: int, seed: int, max_iter: int, tol: float) -> Clustering:
    """K-means with centers that are scaled to unit length after each mean, as the release of Zhang & Maire 2023 has it.

    A start ends when its centers together move by at most ``tol``. The best start has the least mean distance, which is
    ``inertia`` here. Seeds are plain k-means++, and an empty cluster moves to the sample farthest from its center; the
    release draws greedily by distance and splits a large cluster. Shape: features (N, D), float32.

    Raises:
        ValueError: fewer samples than clusters.
    """
    if len(features) < k:
        raise ValueError(f"{len(features)} samples cannot make {k} clusters")
    found: list[Clustering] = []
    for centers in plus_plus(features, k, starts, torch.Generator().manual_seed(seed)):
        converged, iteration = False, 0
        while not converged and iteration < max_iter:
            index, iteration = assign(features, centers[None])[0], iteration + 1
            moved = means(features, totals(features, index, k)[0], index[:, 0], centers)
            moved = torch.nn.functional.normalize(moved, dim=1)
            converged = bool((moved - centers).norm() <= tol)
            centers = moved
        distance = float(assign(features, centers[None])[1].sqrt().mean())
        found.append(Clustering(centers, distance, iteration, converged))
    return min(found, key=lambda one: one.inertia)
