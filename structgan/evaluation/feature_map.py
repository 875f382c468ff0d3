"""Test features in two dimensions, for the figure of features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from structgan.evaluation.features import normalize


def feature_map(
    test: Tensor, labels: Tensor, classes: tuple[str, ...], settings: Mapping[str, Any], seed: int = 0
) -> dict[str, Any]:
    """The content of map.json: positions of a fixed random subset of the test features, scaled to unit length.

    Args:
        test: Shape: (N, D). labels: Shape: (N,).
        settings: the block "map": kind ("tsne" or "pca"), points, and for t-SNE perplexity and iterations.
    """
    order = torch.randperm(len(test), generator=torch.Generator().manual_seed(seed))
    kept = order[: settings["points"]].sort().values.to(test.device)
    project = {"tsne": tsne, "pca": pca}[settings["kind"]]
    points = project(normalize(test[kept]).cpu().numpy(), settings)
    return {
        "kind": settings["kind"],
        "split": "test",
        "points": [[round(value, 3) for value in point] for point in points.tolist()],
        "labels": labels[kept].tolist(),
        "classes": list(classes),
    }


def tsne(points: NDArray[np.float32], settings: Mapping[str, Any]) -> NDArray[np.float32]:
    """scikit-learn's t-SNE from the principal components. Shape: (N, D) to (N, 2), N of at least 4.

    The perplexity is lowered to (N - 1) / 3 where there are few points.
    """
    from sklearn.manifold import TSNE

    if not np.ptp(points, axis=0).any():  # a collapsed encoder has no principal components to start from
        return np.zeros((len(points), 2), np.float32)
    perplexity = min(settings["perplexity"], (len(points) - 1) / 3)
    model = TSNE(perplexity=perplexity, max_iter=settings["iterations"], init="pca", random_state=0)
    found: NDArray[np.float32] = model.fit_transform(points)
    return found


def pca(points: NDArray[np.float32], settings: Mapping[str, Any]) -> NDArray[np.float32]:
    """Scores on the two leading principal components. Shape: (N, D) to (N, 2), D of at least 2."""
    from sklearn.decomposition import PCA

    found: NDArray[np.float32] = PCA(n_components=2, svd_solver="full").fit_transform(points)
    return found
