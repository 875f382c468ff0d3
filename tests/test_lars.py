"""LARS with a clipped rate against its equations in NumPy, and by name."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from snapshots import same, snapshot
from torch import nn

from structgan import optim, train
from structgan.optim import LARS

SETTINGS = {"name": "lars", "lr": 0.3, "momentum": 0.9, "weight_decay": 0.05, "trust": 0.02}


def literal(weight, grads, lr, momentum, weight_decay, trust):
    velocity = np.zeros_like(weight)
    for grad, rate in zip(grads, lr, strict=True):
        change = grad
        if weight.ndim > 1:
            length, slope = np.sqrt((weight**2).sum()), np.sqrt((grad**2).sum())
            local = min(1.0, trust * length / (slope + weight_decay * length) / rate)
            change = local * (grad + weight_decay * weight)
        velocity = momentum * velocity + change
        weight = weight - rate * velocity
    return weight


@pytest.mark.parametrize("size", [0.01, 100.0])
@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 2, 2), (5,)])
def test_updates_are_the_equations(shape, size):
    """Small gradients are not clipped, large ones are; the rate changes from step to step."""
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(shape, dtype=torch.float64))
    start, grads, rates = weight.detach().numpy().copy(), size * np.random.default_rng(0).normal(size=(3, *shape)), []
    optimizer = optim.build([weight], SETTINGS)
    for index, grad in enumerate(grads):
        rates.append(0.3 / (index + 1))
        optimizer.param_groups[0]["lr"] = rates[-1]
        weight.grad = torch.from_numpy(grad)
        optimizer.step()
    expected = literal(start, grads, rates, *(SETTINGS[name] for name in ("momentum", "weight_decay", "trust")))
    np.testing.assert_allclose(weight.detach().numpy(), expected, rtol=1e-7)


def test_what_has_no_gradient_or_no_length_stays_or_moves_freely():
    still, empty = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.zeros(2, 2))
    empty.grad = torch.ones(2, 2)
    optim.build([still, empty], SETTINGS).step()
    assert torch.equal(still, torch.ones(2, 2)) and torch.allclose(empty, torch.full((2, 2), -0.3))


def test_a_resumed_run_goes_on_with_its_velocities(make_run, digits):
    settings = {"optimizer": {"name": "lars", "lr": 0.1, "momentum": 0.9, "trust": 0.02, "weight_decay": 1e-4}}

    def start(folder):
        return train.Run(make_run("vicreg", folder=folder, settings=settings, steps=6), digits, "cpu")

    whole, first = start("whole"), start("parts")
    whole.fit()
    first.training = {**first.training, "steps": 4}
    first.fit()
    second = start("parts")
    second.resume()
    assert second.step == 4 and isinstance(second.method.optimizer, LARS)
    second.fit()
    assert same(snapshot(whole.method), snapshot(second.method))
    assert same(whole.method.optimizer.state_dict(), second.method.optimizer.state_dict())
