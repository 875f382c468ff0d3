"""Optimizers by name, and schedules as pure functions of the step."""

import math
import subprocess
import sys

import pytest
import torch
from torch import nn

from structgan import optim, precision
from structgan.optim import LARS


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"name": "sgd", "lr": 0.1, "momentum": 0.8, "weight_decay": 0.01}, torch.optim.SGD),
        ({"name": "adam", "lr": 0.1, "betas": [0.5, 0.9], "weight_decay": 0.01}, torch.optim.Adam),
        ({"name": "adamw", "lr": 0.1, "betas": [0.5, 0.9], "weight_decay": 0.01}, torch.optim.AdamW),
        ({"name": "lars", "lr": 0.1, "momentum": 0.8, "weight_decay": 0.01, "trust": 0.02}, LARS),
    ],
)
def test_settings_reach_the_optimizer(settings, kind):
    built = optim.build(nn.Linear(2, 2).parameters(), settings)
    group = built.param_groups[0]
    assert type(built).__base__ is kind and len(group["params"]) == 2
    assert (group["lr"], group["weight_decay"]) == (0.1, 0.01)
    assert tuple(group.get("betas", (0.5, 0.9))) == (0.5, 0.9) and group.get("momentum", 0.8) == 0.8


def test_a_job_does_not_import_the_compiler():
    """Its second of import would be a third of the start of each job."""
    work = """
import sys, torch
from structgan import optim, train
from structgan.losses.smoothness import right_vector
weight = torch.nn.Parameter(torch.ones(2, 3))
for name in optim.NAMES:
    options = {"lr": 0.1, "weight_decay": 0.0, "betas": (0.5, 0.9), "momentum": 0.9, "trust": 0.1}
    optim.minimize(optim.build([weight], {"name": name, **options}), weight.square().sum())
right_vector(weight * 2, weight, torch.ones(2, 3))
print(sorted({"torch._dynamo", "sympy"} & set(sys.modules)))
"""
    assert subprocess.run([sys.executable, "-c", work], capture_output=True, text=True, check=True).stdout == "[]\n"


def rates(steps, **settings):
    settings = {"name": "sgd", "lr": 0.4, "momentum": 0.0, "weight_decay": 0.0, "warmup_fraction": 0.0, **settings}
    built = optim.build(nn.Linear(2, 2).parameters(), settings)
    found = []
    for step in range(steps):
        optim.schedule(built, settings, step, steps)
        found.append(built.param_groups[0]["lr"])
    return found


def test_constant_and_warm_up():
    assert rates(5, schedule="constant") == [0.4] * 5
    assert rates(8, schedule="constant", warmup_fraction=0.5) == pytest.approx([0.1, 0.2, 0.3, 0.4, *[0.4] * 4])


def test_cosine_falls_from_the_peak_to_zero():
    expected = [0.4 * 0.5 * (1 + math.cos(math.pi * step / 10)) for step in range(10)]
    assert rates(10, schedule="cosine") == pytest.approx(expected)
    warmed = rates(100, schedule="cosine", warmup_fraction=0.1)
    assert warmed[:10] == pytest.approx([0.04 * (step + 1) for step in range(10)])
    assert max(warmed) == pytest.approx(0.4) and warmed[10:] == sorted(warmed[10:], reverse=True) and warmed[-1] < 1e-3


def test_an_update_keeps_the_precision_of_the_forward_pass():
    """A product that was computed in float32 has a float32 gradient, whatever the step's autocast is."""
    weight = nn.Parameter(torch.randn(40, 40, generator=torch.Generator().manual_seed(0)))
    optimizer, found = torch.optim.SGD([weight], lr=0.0), {}
    for name in ("float32", "bfloat16"):
        with precision.autocast(name, "cpu"):
            optim.minimize(optimizer, precision.exact(lambda w: (w @ w.T @ w).sum())(weight))
        found[name] = weight.grad.clone()
    assert torch.equal(found["float32"], found["bfloat16"])


def test_an_update_gives_gradients_to_its_own_parameters_alone():
    mine, frozen, other = (nn.Parameter(torch.ones(2)) for _ in range(3))
    frozen.requires_grad_(False)
    optimizer = torch.optim.SGD([mine, frozen], lr=0.5)
    mine.grad = torch.full((2,), 7.0)  # of an earlier update
    optim.minimize(optimizer, (3 * mine * frozen + other).sum())
    assert mine.grad.tolist() == [3, 3] and mine.tolist() == [-0.5, -0.5]
    assert other.grad is None and frozen.grad is None
