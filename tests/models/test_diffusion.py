"""The diffusion process against its equations in plain loops, and the U-Net on the backbone."""

import itertools
import math

import numpy as np
import pytest
import torch
from snapshots import IMAGES
from tiny_networks import seeded

from structgan.models.diffusion import Diffusion
from structgan.models.unet import UNet, sinusoids

T = 12
NAMES = ("linear", "cosine")


def betas(name):
    """beta_t at index t, from the papers' definitions; beta_0 stands for nothing."""
    if name == "linear":
        return [0.0, *np.linspace(0.001, 0.3, T)]
    f = [np.cos((t / T + 0.008) / 1.008 * np.pi / 2) ** 2 for t in range(T + 1)]
    return [0.0, *(min(1 - f[t] / f[t - 1], 0.999) for t in range(1, T + 1))]


def abar(name, t):
    return math.prod(1 - beta for beta in betas(name)[: t + 1])


def process(name="cosine", prediction="v"):
    return Diffusion(T, name, first=0.001, last=0.3, offset=0.008, prediction=prediction)


def pictures(seed):
    return torch.randn(5, 3, 4, 4, generator=seeded(seed))


@pytest.mark.parametrize("name", NAMES)
def test_the_schedule_is_the_product_of_its_betas(name):
    diffusion = process(name)
    expected = [abar(name, t) for t in range(T + 1)]
    assert diffusion.abar == pytest.approx(expected, rel=1e-9) and diffusion.abar[0] == 1
    assert diffusion.signal.square().tolist() == pytest.approx(expected, rel=1e-5)
    assert diffusion.spread.square().tolist() == pytest.approx([1 - bar for bar in expected], rel=1e-5)
    assert not diffusion.state_dict() and betas("cosine")[T] == 0.999


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("t", [1, 2, 7, T])
def test_a_step_with_all_the_noise_is_algorithm_2(name, t):
    """x_{t-1} = alpha_t^-1/2 (x_t - beta_t (1 - abar_t)^-1/2 eps) + sigma_t z with the posterior's variance."""
    diffusion, noisy, noise, fresh = process(name, "epsilon"), *(pictures(seed).double() for seed in (1, 2, 3))
    beta, now, past = betas(name)[t], abar(name, t), abar(name, t - 1)
    expected = (noisy - beta / math.sqrt(1 - now) * noise) / math.sqrt(1 - beta)
    expected += math.sqrt((1 - past) / (1 - now) * beta) * fresh
    clean = (noisy - math.sqrt(1 - now) * noise) / math.sqrt(now)
    assert torch.allclose(diffusion.back(noisy, clean, t, t - 1, 1.0, fresh), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("steps", [1, 5, T])
def test_the_way_back_has_every_step_once_and_ends_at_the_clean_image(steps):
    path = process().path(steps)
    assert len(path) == steps and path[0][0] == T and path[-1][1] == 0
    assert all(t > s for t, s in path) and all(a[1] == b[0] for a, b in itertools.pairwise(path))


def test_times_are_told_by_sines_and_cosines():
    found = sinusoids(torch.tensor([0, 3]), 6)
    rates = [10000 ** (-i / 2) for i in range(3)]
    expected = [[math.sin(3 * rate) for rate in rates] + [math.cos(3 * rate) for rate in rates]]
    assert torch.allclose(found, torch.tensor([[0.0] * 3 + [1.0] * 3, *expected]))


@pytest.mark.parametrize(("size", "blocks"), [(16, [1, 2]), (32, [1, 1, 1, 1]), (64, [1, 1]), (96, [2, 1, 1])])
def test_the_unets_encoder_is_the_backbone_at_every_size(size, blocks):
    net = UNet(size, 8, width=4, blocks=blocks, channels_per_group=4)
    images, times = torch.randn(2, 3, size, size, generator=seeded()), torch.tensor([1, 9])
    maps = net.down(images)
    assert len(maps) == len(blocks) + 1 and torch.equal(maps[0], images)
    assert torch.equal(net.backbone.pool(maps[-1]), net.backbone(images))
    before = [x.clone() for x in maps]
    assert torch.equal(net.up(maps, times), torch.zeros_like(images))
    assert all(map(torch.equal, maps, before))


def test_every_weight_of_the_unet_counts_and_the_time_does():
    torch.manual_seed(0)
    net = UNet(16, 8, width=8, blocks=[1, 1], channels_per_group=4)
    for parameter in net.last.parameters():
        torch.nn.init.normal_(parameter)
    output = net(IMAGES, torch.arange(7))
    output.square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in net.parameters())
    assert not torch.allclose(output, net(IMAGES, torch.arange(7) + 5), atol=1e-3)
    with pytest.raises(ValueError, match="condition = 7"):
        UNet(16, 7, width=8, blocks=[1, 1], channels_per_group=4)
