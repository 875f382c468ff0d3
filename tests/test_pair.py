"""The pair form of the Jacobian against the textbook, whole and layer by layer."""

from __future__ import annotations

import pytest
import textbook
import torch
import torch.nn.functional as F
from tiny_networks import double_net, parameters, pictures, seeded

from structgan.losses import smoothness
from structgan.models import pair


@pytest.fixture(scope="module")
def net():
    return double_net()


def test_pair_is_value_and_jvp_and_its_gradients_are_the_textbook_ones(net):
    """e, J v and the gradient of a loss of both in every parameter, against torch.func.jvp of the plain network."""
    images, direction = pictures(3), torch.randn(3, 3, 16, 16, generator=seeded(3), dtype=torch.float64)
    weights = torch.randn(2, 3, 6, generator=seeded(4), dtype=torch.float64)
    leaves = {name: value.requires_grad_(True) for name, value in parameters(net).items()}
    value, tangent = torch.func.jvp(lambda x: textbook.embed(net, leaves, x), (images,), (direction,))
    textbook_loss = (weights[0] * value.tanh() + weights[1] * tangent.square()).sum()
    expected = torch.autograd.grad(textbook_loss, list(leaves.values()))

    both = net.embed_pair(images, direction)
    assert torch.allclose(both.value, value, rtol=1e-9, atol=1e-11)
    assert torch.allclose(both.tangent, tangent, rtol=1e-9, atol=1e-11)
    loss = (weights[0] * both.value.tanh() + weights[1] * both.tangent.square()).sum()
    gradients = torch.autograd.grad(loss, list(net.parameters()))
    for name, ours, theirs in zip(leaves, gradients, expected, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-8, atol=1e-9 * float(theirs.abs().max() + 1)), name


def test_batched_smoothness_is_the_per_sample_form(net):
    """One Jacobian-vector product of the whole batch: the number and the gradient of a vmap over single images."""
    images = pictures(4)
    left = torch.randn(4, 6, generator=seeded(5), dtype=torch.float64)

    def of_one(parameters, image, u):
        return (textbook.sigma(net, parameters, image, u) - 1).square()

    per_sample = torch.func.vmap(torch.func.grad_and_value(of_one), in_dims=(None, 0, 0))
    gradients, penalties = per_sample(parameters(net), images, left)

    leaf = images.clone().requires_grad_(True)
    right = smoothness.right_vector(net(leaf)[1], leaf, left)
    loss, sigma = smoothness.penalty(net.embed_pair(images, right).tangent)
    assert torch.allclose((sigma - 1).square(), penalties, rtol=1e-9, atol=1e-12)
    assert loss.item() == pytest.approx(penalties.mean().item(), rel=1e-10)
    net.zero_grad()
    loss.backward()
    for name, parameter in net.named_parameters():
        expected = gradients[name].mean(0)
        found = torch.zeros_like(expected) if parameter.grad is None else parameter.grad
        assert torch.allclose(found, expected, rtol=1e-8, atol=1e-10 * float(expected.abs().max() + 1)), name
    assert any(p.grad is not None and p.grad.abs().max() > 1e-3 for p in net.parameters())


def gradcheck(function, *arrays):
    tensors = [torch.as_tensor(a, dtype=torch.float64).requires_grad_(True) for a in arrays]
    assert torch.autograd.gradcheck(function, tensors, eps=1e-6, atol=1e-7, rtol=1e-5)


def stack(n, *shape, seed=0):
    """Values and tangents of n samples; no value lies near 0, where ELU's second derivative jumps."""
    x = torch.randn(2 * n, *shape, generator=seeded(seed), dtype=torch.float64)
    x[:n] += 0.05 * x[:n].sign()
    return x


@pytest.mark.parametrize("shape", [(5,), (4, 3, 2)])
def test_gradcheck_of_elu(shape):
    gradcheck(pair._ELU.apply, stack(2, *shape))


@pytest.mark.parametrize("shape", [(5,), (4, 3, 2)])
def test_gradcheck_of_bias(shape):
    gradcheck(lambda x, bias: pair._AddBias.apply(x.clone(), bias), stack(2, *shape), torch.randn(shape[0]))


@pytest.mark.parametrize(("channels", "groups"), [(6, 2), (4, 1), (3, 3)])
def test_gradcheck_of_group_norm(channels, groups):
    def function(x, weight, bias):
        x = x.contiguous(memory_format=torch.channels_last)
        return pair._GroupNorm.apply(x, weight, bias, groups, 1e-5)

    gradcheck(function, stack(2, channels, 2, 3), torch.rand(channels) + 0.5, torch.randn(channels))


@pytest.mark.parametrize(
    ("layer", "function", "shape"),
    [
        (pair.ELU(), F.elu, (4, 6, 6)),
        (pair.AvgPool2d(2), lambda x: F.avg_pool2d(x, 2), (4, 6, 6)),
        (pair.GlobalAvgPool(), lambda x: x.mean((2, 3)), (4, 6, 6)),
    ],
    ids=["elu", "pool", "global"],
)
def test_layers_without_parameters_carry_the_tangent(layer, function, shape):
    x = stack(3, *shape)
    value, tangent = torch.func.jvp(function, (x[:3],), (x[3:],))
    both = layer(pair.Pair.of(x[:3], x[3:]))
    assert torch.allclose(both.value, value) and torch.allclose(both.tangent, tangent)
    assert torch.allclose(layer(x[:3]), value)


def test_group_norm_takes_any_memory_layout():
    layer = pair.GroupNorm(2, 8).double()
    x = stack(3, 8, 5, 4)
    function = lambda v: textbook.group_norm(v, 2, layer.weight, layer.bias)  # noqa: E731
    value, tangent = torch.func.jvp(function, (x[:3],), (x[3:],))
    for stacked in (x, x.contiguous(memory_format=torch.channels_last)):
        both = layer(pair.Pair(stacked))
        assert torch.allclose(both.value, value) and torch.allclose(both.tangent, tangent)
        both.stacked.sum().backward()
