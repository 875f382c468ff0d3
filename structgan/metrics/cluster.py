"""K-means with all its starts in parallel, Hungarian matching of clusters with classes, mutual information."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

CHUNK_ENTRIES = 1 << 25  # entries of the largest temporary matrix: 128 MB in float32


@dataclass(frozen=True)
class Clustering:
    """The best of several starts.

    Attributes:
        centres: Shape: (K, D), float32.
        inertia: sum of squared distances of the samples to their centres.
        iterations: Lloyd iterations of the best start.
        converged: whether the best start met its tolerance before ``max_iter``.
    """

    centres: Tensor
    inertia: float
    iterations: int
    converged: bool


def assign(features: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Nearest centre of each sample, for several sets of centres at once.

    Shape: features (N, D), centres (S, K, D) → index (N, S) int64, squared distance (N, S).
    """
    starts, k, d = centres.shape
    flat = centres.reshape(starts * k, d)
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
    centres = [features[picks]]
    nearest = torch.full((n, starts), math.inf, device=features.device)
    for _ in range(1, k):
        nearest = torch.minimum(nearest, assign(features, centres[-1][:, None])[1])
        cumulative = nearest.double().cumsum(dim=0)
        draw = torch.rand(starts, generator=generator, dtype=torch.float64).to(features.device) * cumulative[-1]
        picks = torch.searchsorted(cumulative.T.contiguous(), draw[:, None]).squeeze(1).clamp_max_(n - 1)
        centres.append(features[picks])
    return torch.stack(centres, dim=1)


def update(features: Tensor, index: Tensor, distance: Tensor, k: int) -> Tensor:
    """Means of the clusters; an empty cluster moves to the sample that lies farthest from its centre.

    Shape: features (N, D), index (N, S), distance (N, S) → (S, K, D).
    """
    starts = index.shape[1]
    flat = index + k * torch.arange(starts, device=index.device)
    sums = features.new_zeros(starts * k, features.shape[1])
    rows = max(1, CHUNK_ENTRIES // (starts * k))
    for chunk, clusters in zip(torch.split(features, rows), torch.split(flat, rows), strict=True):
        membership = features.new_zeros(len(chunk), starts * k).scatter_(1, clusters, 1.0)
        sums.addmm_(membership.T, chunk)
    counts = torch.bincount(flat.flatten(), minlength=starts * k)
    centres = (sums / counts.clamp_min(1)[:, None]).view(starts, k, -1)
    empty = (counts == 0).view(starts, k)
    for start in empty.any(dim=1).nonzero().flatten().tolist():
        holes = empty[start].nonzero().flatten()
        centres[start, holes] = features[distance[:, start].topk(len(holes)).indices]
    return centres


def lloyd(features: Tensor, centres: Tensor, max_iter: int, tol: float) -> Clustering:
    """Lloyd's iterations from each of the given starts; the one with the least inertia is returned.

    A start is finished when its centres move by at most ``tol`` times the features' mean variance (sum of squares, as
    in sklearn). Shape: features (N, D), centres (S, K, D).
    """
    limit = tol * float(features.var(dim=0, correction=0).mean())
    centres = centres.clone()
    active = torch.arange(len(centres), device=features.device)
    finished = torch.full((len(centres),), max_iter + 1, device=features.device)
    for iteration in range(1, max_iter + 1):
        moved = update(features, *assign(features, centres[active]), centres.shape[1])
        done = (moved - centres[active]).square().sum(dim=(1, 2)) <= limit
        centres[active] = moved
        finished[active[done]] = iteration
        active = active[~done]
        if not len(active):
            break
    inertia = assign(features, centres)[1].double().sum(dim=0)
    best = int(inertia.argmin())
    return Clustering(
        centres=centres[best],
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


def contingency(clusters: Tensor, labels: Tensor, k: int) -> Tensor:
    """How often each cluster meets each class. Shape: (N,), (N,) → (K, K), int64."""
    return torch.bincount(clusters * k + labels, minlength=k * k).view(k, k)


def match(table: Tensor) -> Tensor:
    """The one-to-one map from clusters to classes with most hits (Hungarian method).

    Shape: (K, K) contingency table → (K,): the class of each cluster.
    """
    from scipy.optimize import linear_sum_assignment

    return torch.from_numpy(linear_sum_assignment(table.cpu().numpy(), maximize=True)[1]).to(table.device)


def mutual_information(table: Tensor) -> float:
    """Normalised mutual information, I(A;B) / ½(H(A) + H(B)), in [0, 1]; 1 where both have one group only."""

    def entropy(p: Tensor) -> Tensor:
        return -torch.xlogy(p, p).sum()

    joint = table.double() / table.sum()
    rows, columns = entropy(joint.sum(dim=1)), entropy(joint.sum(dim=0))
    mean = float(rows + columns) / 2
    return max(0.0, float(rows + columns - entropy(joint)) / mean) if mean > 0 else 1.0
