"""The projections to the plane: t-SNE against a literal loop and scikit-learn, principal components against NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from blobs import blobs
from sklearn.manifold import TSNE, trustworthiness
from torch import Tensor

from structgan.metrics import projection


def test_affinities_have_the_asked_perplexity_against_a_literal_loop() -> None:
    x, _ = blobs(40, 2, 4, 1.0)
    p = projection.affinities(x, perplexity=8.0).numpy()
    assert p.sum() == pytest.approx(1.0) and np.allclose(p, p.T) and not p.diagonal().any()
    conditional = np.zeros((40, 40))
    points = x.double().numpy()
    for i in range(40):
        squares = np.sum((points - points[i]) ** 2, axis=1)
        low, high = 1e-12, 1e12
        for _ in range(200):
            beta = math.sqrt(low * high)
            row = np.exp(-beta * np.maximum(squares - np.delete(squares, i).min(), 0))
            row[i] = 0
            row /= row.sum()
            entropy = -sum(v * math.log(v) for v in row if v > 0)
            low, high = (beta, high) if entropy > math.log(8.0) else (low, beta)
        conditional[i] = row
    np.testing.assert_allclose(p, (conditional + conditional.T) / 80, rtol=1e-4, atol=1e-8)


def test_tsne_is_as_faithful_as_scikit_learns() -> None:
    x, y = blobs(200, 4, 10, 3.0)
    mine = projection.tsne(x, perplexity=30.0, iterations=500)
    reference = TSNE(init="pca", random_state=0).fit_transform(x.numpy())
    ours, theirs = (trustworthiness(x.numpy(), points) for points in (mine.numpy(), reference))
    assert ours >= theirs - 0.01
    assert torch.equal(neighbours_in_plane(mine, y), y)
    assert torch.equal(mine, projection.tsne(x, perplexity=30.0, iterations=500))


def neighbours_in_plane(points: Tensor, y: Tensor) -> Tensor:
    """Label of each point's nearest other point."""
    return y[torch.cdist(points, points).fill_diagonal_(math.inf).argmin(dim=1)]


def test_principal_components_against_numpy() -> None:
    x, _ = blobs(50, 3, 6, 1.0)
    scores = projection.principal_components(x, 2).numpy()
    values, vectors = np.linalg.eigh(np.cov(x.double().numpy(), rowvar=False, bias=True))
    expected = (x.double().numpy() - x.double().numpy().mean(0)) @ vectors[:, [-1, -2]]
    np.testing.assert_allclose(np.abs(scores), np.abs(expected), atol=1e-5)
    np.testing.assert_allclose(scores.var(axis=0), values[[-1, -2]], rtol=1e-6)
    assert projection.principal_components(torch.ones(5, 1), 2).shape == (5, 2)
    assert torch.isfinite(
        projection.tsne(torch.ones(20, 3), perplexity=30.0, iterations=500)
    ).all()  # a collapsed encoder still has a figure
