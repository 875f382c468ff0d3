"""Test features in two dimensions, for the figure of features."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from structgan.evaluation.features import normalize


def feature_map(
    test: Tensor, labels: Tensor, classes: tuple[str, ...], settings: Mapping[str, Any], seed: int = 0
) -> dict[str, Any]:
    """The content of map.json: positions of a fixed random subset of the test features, scaled to unit length.

    Args:
        test: Shape: (N, D), N of at least 4 and D of at least 2.
        labels: Shape: (N,).
        settings: the block "map": kind ("tsne" or "pca"), points, and for t-SNE iterations and perplexity, which is
            lowered to (points - 1) / 3 where there are few.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    order = torch.randperm(len(test), generator=torch.Generator().manual_seed(seed))
    kept = order[: settings["points"]].sort().values.to(test.device)
    points = normalize(test[kept]).cpu().numpy()
    if not np.ptp(points, axis=0).any():  # a collapsed encoder has no principal components
        found = np.zeros((len(points), 2), np.float32)
    elif settings["kind"] == "pca":
        found = PCA(n_components=2, svd_solver="full").fit_transform(points)
    else:
        perplexity = min(settings["perplexity"], (len(points) - 1) / 3)
        model = TSNE(perplexity=perplexity, max_iter=settings["iterations"], init="pca", random_state=0)
        found = model.fit_transform(points)
    return {
        "kind": settings["kind"],
        "split": "test",
        "points": [[round(value, 3) for value in point] for point in found.tolist()],
        "labels": labels[kept].tolist(),
        "classes": list(classes),
    }
