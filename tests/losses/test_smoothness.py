"""The smoothness penalty with its gradient, and the vector at which the Jacobian is taken."""

import math

import numpy as np
import torch
from gradcheck import RNG, agree

from structgan.losses import smoothness


def test_smoothness_penalty():
    tangents = RNG(5).normal(size=(5, 4))

    def literal(t):
        return sum((math.sqrt(sum(v * v for v in row)) - 1) ** 2 for row in t) / len(t)

    agree(lambda t: smoothness.penalty(t)[0], literal, tangents)
    _, sigma = smoothness.penalty(torch.tensor(tangents))
    np.testing.assert_allclose(sigma.numpy(), np.linalg.norm(tangents, axis=1), rtol=1e-12)


def test_right_vector_of_a_linear_map_is_its_transpose_applied():
    """e = A x: v = A^T u / |A^T u|, each sample with its own u and without a graph; 0 where the gradient vanishes."""
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(4, 12, generator=generator, dtype=torch.float64)
    images = torch.randn(3, 3, 2, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    left = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    right = smoothness.right_vector(images.flatten(1) @ matrix.T, images, left)
    expected = left @ matrix
    expected = (expected / expected.norm(dim=1, keepdim=True)).view(3, 3, 2, 2)
    assert torch.allclose(right, expected, rtol=1e-12) and not right.requires_grad
    assert (smoothness.right_vector((images * 0).flatten(1), images, torch.ones(3, 12)) == 0).all()
