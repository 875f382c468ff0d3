"""A loss and its gradient against a literal NumPy function, on points of the sphere, in float64."""

import numpy as np
import torch

RNG = np.random.default_rng


def sphere(n, c, seed, shift=0.0):
    """Unit vectors that lean towards the first axis. Shape: (n, c)."""
    z = RNG(seed).normal(size=(n, c))
    z[:, 0] += shift
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def finite_differences(function, x, h=1e-6):
    """Central differences of a scalar function of an array."""
    gradient = np.zeros_like(x)
    for index in np.ndindex(*x.shape):
        up, down = x.copy(), x.copy()
        up[index] += h
        down[index] -= h
        gradient[index] = (function(up) - function(down)) / (2 * h)
    return gradient


def agree(ours, literal, *arrays, tolerance=2e-7):
    """Value and gradient in every array of our torch function against a NumPy function."""
    tensors = [torch.tensor(a, requires_grad=True) for a in arrays]
    value = ours(*tensors)
    assert value.ndim == 0 and value.dtype == torch.float64
    np.testing.assert_allclose(value.item(), literal(*arrays), rtol=1e-10, atol=1e-12)
    gradients = torch.autograd.grad(value, tensors)
    for i, gradient in enumerate(gradients):
        expected = finite_differences(lambda x, i=i: literal(*arrays[:i], x, *arrays[i + 1 :]), arrays[i])
        assert np.abs(expected).max() > 1e-6  # a gradient that is zero would prove nothing
        np.testing.assert_allclose(gradient.numpy(), expected, rtol=1e-5, atol=tolerance)
