"""The tangent's rules against the reference step, whole and layer by layer."""

import pytest
import torch
import torch.nn.functional as F
from tiny_networks import double_net, pictures, seeded, transcribed

from benchmarks import reference_step
from structgan.losses import smoothness
from structgan.models import tangent
from structgan.models.tangent import Tangent, Traced


@pytest.fixture(scope="module")
def net():
    return double_net()


def test_values_and_jvp_and_their_gradients_are_the_textbook_ones(net):
    """e, J v and the gradient of a loss of both in every parameter, against torch.func.jvp of the plain network."""
    images, direction = pictures(3), torch.randn(3, 3, 16, 16, generator=seeded(3), dtype=torch.float64)
    weights = torch.randn(2, 3, 6, generator=seeded(4), dtype=torch.float64)
    book = transcribed(net)
    value, moved = torch.func.jvp(book, (images,), (direction,))
    textbook_loss = (weights[0] * value.tanh() + weights[1] * moved.square()).sum()
    expected = torch.autograd.grad(textbook_loss, list(book.parameters()))

    embeddings, tape = net.trace(images)
    derivative = net.derivative(direction, tape)
    assert torch.allclose(embeddings, value, rtol=1e-9, atol=1e-11)
    assert torch.allclose(derivative, moved, rtol=1e-9, atol=1e-11)
    loss = (weights[0] * embeddings.tanh() + weights[1] * derivative.square()).sum()
    gradients = torch.autograd.grad(loss, list(net.parameters()))
    for (name, _), ours, theirs in zip(net.named_parameters(), gradients, expected, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-8, atol=1e-9 * float(theirs.abs().max() + 1)), name


def test_batched_smoothness_is_the_per_sample_form(net):
    """One Jacobian-vector product of the whole batch: the number and the gradient of a vmap over single images."""
    images = pictures(4).requires_grad_(True)
    left = torch.randn(4, 6, generator=seeded(5), dtype=torch.float64)
    book = transcribed(net)

    def of_one(parameters, image, u):
        embed = lambda x: torch.func.functional_call(book, parameters, (x,))  # noqa: E731
        return (reference_step.sigmas(embed, image[None], u[None])[0] - 1).square()

    per_sample = torch.func.vmap(torch.func.grad_and_value(of_one), in_dims=(None, 0, 0))
    gradients, penalties = per_sample(dict(book.named_parameters()), images.detach(), left)

    embeddings, tape = net.trace(images)
    loss, sigma = smoothness.penalty(net.derivative(smoothness.right_vector(embeddings, images, left), tape))
    assert torch.allclose((sigma - 1).square(), penalties, rtol=1e-9, atol=1e-12)
    assert loss.item() == pytest.approx(penalties.mean().item(), rel=1e-10)
    net.zero_grad()
    loss.backward()
    for (name, parameter), gradient in zip(net.named_parameters(), gradients.values(), strict=True):
        expected = gradient.mean(0).detach()
        found = torch.zeros_like(expected) if parameter.grad is None else parameter.grad
        assert torch.allclose(found, expected, rtol=1e-8, atol=1e-10 * float(expected.abs().max() + 1)), name


def test_group_norm_takes_any_memory_layout():
    layer = tangent.GroupNorm(2, 8).double()
    x, t = (torch.randn(3, 8, 5, 4, generator=seeded(seed), dtype=torch.float64) for seed in (0, 1))
    function = lambda v: F.group_norm(v, 2, layer.weight, layer.bias)  # noqa: E731
    expected = torch.func.jvp(function, (x,), (t,))
    for layout in (torch.contiguous_format, torch.channels_last):
        traced = layer(Traced(x.contiguous(memory_format=layout), []))
        moved = layer(Tangent(t.contiguous(memory_format=layout), iter(traced.tape)))
        assert torch.allclose(traced.tensor, expected[0]) and torch.allclose(moved.tensor, expected[1])
        moved.tensor.sum().backward()
