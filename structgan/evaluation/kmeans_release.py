"""K-means as the release of Zhang & Maire 2023 has it, for its own measure; ``cluster`` has the other tables'."""

from __future__ import annotations

import torch
from torch import Tensor

from structgan.evaluation.cluster import Clustering, assign, means, plus_plus, totals


def kmeans(features: Tensor, k: int, starts: int, seed: int, max_iter: int, tol: float) -> Clustering:
    """K-means with centres that are scaled to unit length after each mean.

    A start ends when its centres together move by at most ``tol``; the best one has the least mean distance, which is
    ``inertia`` here. Seeds are plain k-means++ and an empty cluster moves to the sample farthest from its centre, where
    the release draws greedily by distance and splits a large cluster. Shape: features (N, D), float32.

    Raises:
        ValueError: fewer samples than clusters.
    """
    if len(features) < k:
        raise ValueError(f"{len(features)} samples cannot make {k} clusters")
    found: list[Clustering] = []
    for centres in plus_plus(features, k, starts, torch.Generator().manual_seed(seed)):
        converged, iteration = False, 0
        while not converged and iteration < max_iter:
            index, iteration = assign(features, centres[None])[0], iteration + 1
            moved = means(features, totals(features, index, k)[0], index[:, 0], centres)
            moved = torch.nn.functional.normalize(moved, dim=1)
            converged = bool((moved - centres).norm() <= tol)
            centres = moved
        distance = float(assign(features, centres[None])[1].sqrt().mean())
        found.append(Clustering(centres, distance, iteration, converged))
    return min(found, key=lambda one: one.inertia)
