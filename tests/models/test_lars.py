"""LARS with a clipped rate against its equations in NumPy."""

import numpy as np
import pytest
import torch
from torch import nn

from structgan import optim

SETTINGS = {"name": "lars", "lr": 0.3, "momentum": 0.9, "weight_decay": 0.05, "trust": 0.02}


def literal(weight, grads, rates, momentum, decay, trust):
    velocity = np.zeros_like(weight)
    for grad, rate in zip(grads, rates, strict=True):
        change = grad
        if weight.ndim > 1:
            length, slope = np.sqrt((weight**2).sum()), np.sqrt((grad**2).sum())
            change = min(1.0, trust * length / (slope + decay * length) / rate) * (grad + decay * weight)
        velocity = momentum * velocity + change
        weight = weight - rate * velocity
    return weight


@pytest.mark.parametrize("size", [0.01, 100.0])
@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 2, 2), (5,)])
def test_updates_are_the_equations(shape, size):
    """Small gradients are not clipped, large ones are; the rate changes from step to step."""
    torch.manual_seed(0)
    weight, rates = nn.Parameter(torch.randn(shape, dtype=torch.float64)), [0.3, 0.15, 0.1]
    start, grads = weight.detach().numpy().copy(), size * np.random.default_rng(0).normal(size=(3, *shape))
    optimizer = optim.build([weight], SETTINGS)
    for rate, grad in zip(rates, grads, strict=True):
        optimizer.param_groups[0]["lr"], weight.grad = rate, torch.from_numpy(grad)
        optimizer.step()
    expected = literal(start, grads, rates, *(SETTINGS[name] for name in ("momentum", "weight_decay", "trust")))
    np.testing.assert_allclose(weight.detach().numpy(), expected, rtol=1e-7)


def test_what_has_no_gradient_stays_and_what_has_no_length_moves_freely():
    still, empty = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.zeros(2, 2))
    empty.grad = torch.ones(2, 2)
    optim.build([still, empty], SETTINGS).step()
    assert torch.equal(still, torch.ones(2, 2)) and torch.allclose(empty, torch.full((2, 2), -0.3))
