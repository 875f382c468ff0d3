"""K-means with all its starts in parallel, Hungarian matching of clusters with classes, mutual information."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

CHUNK_ENTRIES = 1 << 25  # entries of the largest temporary matrix: 128 MB in float32
MOST = 0.5  # above this share of samples in doubt, all starts are computed at once: no rows to gather


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


def nearest_two(features: Tensor, squares: Tensor, centres: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Nearest centre of each sample, its distance, and the distance of the second nearest, for several sets at once.

    Shape: features (N, D), squares (N,), their squared lengths, centres (S, K, D) → (N, S) each: int64, float, float.
    """
    starts, k, d = centres.shape
    flat = centres.reshape(starts * k, d)
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


def means(features: Tensor, sums: Tensor, index: Tensor, centres: Tensor) -> Tensor:
    """Means of one start's clusters; an empty cluster moves to the sample that lies farthest from its centre.

    Shape: features (N, D), sums (K, D), index (N,), centres (K, D), where the samples were assigned → (K, D).
    """
    counts = torch.bincount(index, minlength=len(centres))
    moved = (sums / counts.clamp_min(1)[:, None]).to(features.dtype)
    holes = (counts == 0).nonzero().flatten()
    if len(holes):
        distance = assign(features, centres[None])[1][:, 0]
        moved[holes] = features[distance.topk(len(holes)).indices]
    return moved


class Search:
    """Lloyd's iterations from several starts, which skip the samples that cannot have changed their cluster.

    A sample's distance to its own centre grows by at most that centre's step, and its distance to any other one shrinks
    by at most the largest step of the others (Hamerly 2010): while the bounds stay apart, no distance is computed. Sums
    of clusters follow the samples that move. The result is that of Lloyd's plain iterations.
    """

    def __init__(self, features: Tensor, centres: Tensor) -> None:
        self.features, self.centres = features, centres.clone()
        self.squares = features.square().sum(dim=1)
        self.margin = 1e-4 * float(self.squares.max().sqrt())  # well above float32's rounding of a distance
        self.index, self.near, self.far = nearest_two(features, self.squares, centres)
        self.sums = totals(features, self.index, centres.shape[1])

    def step(self, starts: Tensor) -> Tensor:
        """Move the centres of some starts to the means. Shape: (A,) → (A,): sum of squares of the steps."""
        travelled = []
        for start in starts.tolist():
            index, centres = self.index[:, start], self.centres[start]
            moved = means(self.features, self.sums[start], index, centres)
            length = (moved - centres).norm(dim=1)
            self.centres[start] = moved
            self.near[:, start] += length[index]
            largest = length.topk(min(2, len(length)))
            others = torch.where(index == largest.indices[0], largest.values[-1], largest.values[0])
            self.far[:, start] -= others
            travelled.append(length.square().sum())
        return torch.stack(travelled)

    def reassign(self, starts: Tensor) -> None:
        """Find the nearest centres again, where they may be others."""
        doubtful = self.near[:, starts] + self.margin >= self.far[:, starts]
        if float(doubtful.float().mean()) > MOST:
            found = nearest_two(self.features, self.squares, self.centres[starts])
            for column, start in enumerate(starts.tolist()):
                self.settle(start, slice(None), *(part[:, column] for part in found))
            return
        for column, start in enumerate(starts.tolist()):
            rows = doubtful[:, column].nonzero().flatten()
            found = nearest_two(self.features[rows], self.squares[rows], self.centres[start][None])
            self.settle(start, rows, *(part[:, 0] for part in found))

    def settle(self, start: int, rows: Tensor | slice, index: Tensor, near: Tensor, far: Tensor) -> None:
        """Take over what was found for some samples of one start. Shape: (n,) each."""
        before = self.index[rows, start]
        changed = (index != before).nonzero().flatten()
        which = changed if isinstance(rows, slice) else rows[changed]
        samples, k = self.features[which], self.centres.shape[1]
        self.sums[start] += totals(samples, index[changed, None], k)[0] - totals(samples, before[changed, None], k)[0]
        self.index[rows, start], self.near[rows, start], self.far[rows, start] = index, near, far


def lloyd(features: Tensor, centres: Tensor, max_iter: int, tol: float) -> Clustering:
    """Lloyd's iterations from each of the given starts; the one with the least inertia is returned.

    A start is finished when its centres move by at most ``tol`` times the features' mean variance (sum of squares, as
    in sklearn). Shape: features (N, D), centres (S, K, D).
    """
    limit = tol * float(features.var(dim=0, correction=0).mean())
    search = Search(features, centres)
    active = torch.arange(len(centres), device=features.device)
    finished = torch.full((len(centres),), max_iter + 1, device=features.device)
    for iteration in range(1, max_iter + 1):
        done = search.step(active) <= limit
        finished[active[done]] = iteration
        active = active[~done]
        if not len(active):
            break
        search.reassign(active)
    inertia = assign(features, search.centres)[1].double().sum(dim=0)
    best = int(inertia.argmin())
    return Clustering(
        centres=search.centres[best],
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
