"""Networks: their shape, the pair form of the Jacobian against the textbook, the memory bank and the averages."""

from __future__ import annotations

import math
from collections import deque

import pytest
import textbook
import torch
import torch.nn.functional as F
from torch import nn

from structgan import config, method
from structgan.losses import smoothness
from structgan.methods.structural import Structural
from structgan.models import pair
from structgan.models.discriminator import Backbone, Discriminator
from structgan.models.generator import Generator
from structgan.models.memory import MemoryBank, follow, frozen_copy

TINY = {"width": 8, "blocks": [1, 2], "channels_per_group": 4, "hidden": 12, "embedding": 6}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def double_net(image_size=16, **changes):
    """A tiny discriminator in float64 whose norms are no identity, so that each of their terms counts."""
    torch.manual_seed(1)
    net = Discriminator(image_size, **{**TINY, **changes}).double()
    for module in net.modules():
        if isinstance(module, nn.GroupNorm):
            nn.init.normal_(module.weight, 1.0, 0.3)
            nn.init.normal_(module.bias, 0.0, 0.3)
        elif getattr(module, "bias", None) is not None:
            nn.init.normal_(module.bias, 0.0, 0.3)
    return net


def pictures(n, size=16):
    return torch.rand(n, 3, size, size, generator=seeded(2), dtype=torch.float64) * 2 - 1


@pytest.fixture(scope="module")
def net():
    return double_net()


def parameters(net):
    return {name: value.detach() for name, value in net.named_parameters()}


@pytest.mark.parametrize(("size", "blocks"), [(16, [1, 2]), (32, [2, 1, 1]), (64, [1, 1]), (96, [1]), (128, [1])])
def test_discriminator_is_the_one_described(size, blocks):
    net = double_net(size, blocks=blocks)
    images = pictures(2, size)
    features, embeddings = net(images)
    assert features.shape == (2, 8 * 2 ** (len(blocks) - 1)) == (2, net.backbone.features)
    assert torch.allclose(embeddings, textbook.embed(net, parameters(net), images), rtol=1e-9, atol=1e-11)


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


@pytest.fixture
def structural():
    """Builds a tiny structural GAN at an image size; keywords change its settings."""

    def make(image_size=16, **changes):
        torch.manual_seed(0)
        settings = config.load([])["methods"]["structural"]["settings"]
        settings["discriminator"] = dict(TINY)
        settings["generator"] = {"latent": 8, "condition": 8, "channels": 8, "hidden": 4, "blocks": 1}
        settings["cluster"]["bank"] = 16
        built = Structural(config.merge(settings, changes), image_size, 10, steps=10)
        built.rng = seeded(7)
        return built

    return make


def test_many_power_iterations_reach_the_largest_singular_value(structural):
    images = pictures(3).float()
    method = structural(smoothness={"power_iterations": 100})
    net = method.discriminator
    exact = torch.stack(
        [torch.linalg.svdvals(textbook.jacobian(net.double(), parameters(net), x))[0] for x in images.double()]
    )
    net.float()
    _, many = smoothness.penalty(net.embed_pair(images, method.steepest(images)).tangent)
    method.settings["smoothness"]["power_iterations"] = 1
    _, one = smoothness.penalty(net.embed_pair(images, method.steepest(images)).tangent)
    assert torch.allclose(many.double(), exact, rtol=1e-3)
    assert (one.double() < exact * 1.0001).all() and (one < many * 0.999).any()
    assert all(p.requires_grad for p in net.parameters())


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


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_networks_of_the_paper_have_their_size():
    settings = config.load([])["methods"]["structural"]["settings"]
    net = Discriminator(32, **settings["discriminator"])
    assert count(net) / 1e6 == pytest.approx(11.5, abs=0.05)
    assert count(Generator(32, **settings["generator"])) / 1e6 == pytest.approx(5.0, abs=0.05)
    assert net.backbone.features == 512 and len(net.backbone.layers) == 8
    for module in net.modules():
        assert not isinstance(module, nn.MaxPool2d | nn.BatchNorm2d)
        if isinstance(module, nn.GroupNorm):
            assert module.num_channels // module.num_groups == 16
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] ** 2
            assert module.stride == (1, 1)
            assert module.weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=0.1)


def test_stem_is_the_one_for_small_images():
    stem = Backbone(32, width=8, blocks=[1], channels_per_group=4).stem
    first = next(stem.children())
    assert isinstance(first, nn.Conv2d) and first.kernel_size == (3, 3) and first.stride == (1, 1)
    assert stem(torch.zeros(1, 3, 32, 32)).shape == (1, 8, 32, 32)


@pytest.mark.parametrize("size", [16, 32, 64, 96, 128])
def test_every_resolution_builds_and_trains_a_step(structural, size):
    method = structural(size)
    images = pictures(4, size).float()
    before = [p.clone() for p in (*method.discriminator.parameters(), *method.gan_generator.parameters())]
    losses = method.step([images], None)
    assert all(loss.isfinite() for loss in losses.values())
    after = (*method.discriminator.parameters(), *method.gan_generator.parameters())
    assert all(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
    samples = method.sample(2, seeded())
    assert samples.shape == (2, 3, size, size) and samples.abs().max() <= 1
    assert method.eval().encode(images).shape == (4, method.encoder.features)


@pytest.mark.parametrize("size", [12, 20, 28, 48])
def test_other_resolutions_of_the_generator(size):
    generator = Generator(size, latent=4, condition=4, channels=4, hidden=2, blocks=1)
    assert generator(torch.randn(2, 4)).shape == (2, 3, size, size)


@pytest.mark.parametrize("size", [3, 9, 17, 50])
def test_impossible_resolution_is_named(size):
    with pytest.raises(ValueError, match=f"{size} pixels"):
        Generator(size, latent=4, condition=4, channels=4, hidden=2, blocks=1)


def test_wrong_width_is_named():
    for width in (2, 6):
        with pytest.raises(ValueError, match="channels_per_group"):
            Backbone(16, width=width, blocks=[1], channels_per_group=4)


def test_too_many_stages_for_the_image_are_named():
    with pytest.raises(ValueError, match="16 pixels"):
        Backbone(16, width=4, blocks=[1, 1, 1, 1, 1, 1], channels_per_group=4)


def test_generator_is_spectrally_normalised_everywhere():
    torch.manual_seed(0)
    generator = Generator(16, latent=8, condition=8, channels=8, hidden=4, blocks=2)
    layers = [m for m in generator.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == 2 + 4 * (4 + 4) + 1 and len(generator.blocks) == 4
    for _ in range(60):  # one power iteration a forward pass
        generator(torch.randn(2, 8))
    for layer in layers:
        assert torch.linalg.svdvals(layer.weight.flatten(1))[0].item() == pytest.approx(1.0, abs=0.02)


def test_generator_depends_on_every_latent_and_reaches_every_pixel():
    torch.manual_seed(0)
    generator = Generator(16, latent=8, condition=8, channels=8, hidden=4, blocks=1).eval()
    latents = torch.randn(3, 8, requires_grad=True)
    images = generator(latents)
    (gradient,) = torch.autograd.grad(images.sum(), latents)
    assert (gradient != 0).all() and (images.std(0) > 0).all()


def unit(n, d, seed):
    return F.normalize(torch.randn(n, d, generator=seeded(seed)), dim=1)


@pytest.mark.parametrize("batches", [[2, 2], [3, 3, 3], [5], [2, 5, 4], [12], [3, 13, 2]])
def test_memory_bank_is_first_in_first_out(batches):
    """Against a queue of bounded length, wrap-around and batches larger than the bank included."""
    torch.manual_seed(0)
    bank = MemoryBank(5, features=4, embedding=3)
    queue = deque(zip(bank.features.tolist(), bank.embeddings.tolist(), strict=True), maxlen=5)
    assert torch.allclose(bank.features.norm(dim=1), torch.ones(5))
    assert torch.allclose(bank.embeddings.norm(dim=1), torch.ones(5))
    for seed, size in enumerate(batches):
        features, embeddings = unit(size, 4, seed), unit(size, 3, seed + 100)
        bank.push(features, embeddings)
        queue.extend(zip(features.tolist(), embeddings.tolist(), strict=True))
    start = int(bank.position)
    order = [(start + i) % 5 for i in range(5)]  # oldest first
    assert [(bank.features[i].tolist(), bank.embeddings[i].tolist()) for i in order] == list(queue)


def test_memory_bank_of_size_0_stays_empty():
    bank = MemoryBank(0, 4, 3)
    bank.push(unit(2, 4, 0), unit(2, 3, 1))
    assert bank.features.shape == (0, 4) and bank.embeddings.shape == (0, 3)


def test_follow_averages_parameters_and_copies_buffers():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    average = frozen_copy(module)
    assert not any(p.requires_grad for p in average.parameters()) and not average.training
    old = [p.clone() for p in average.parameters()]
    with torch.no_grad():
        for p in module.parameters():
            p.add_(1.0)
    module(torch.randn(8, 3))
    follow(average, module, 0.9)
    for before, mine, theirs in zip(old, average.parameters(), module.parameters(), strict=True):
        assert torch.allclose(mine, 0.9 * before + 0.1 * theirs)
    assert torch.equal(average[1].running_mean, module[1].running_mean) and average[1].running_mean.abs().max() > 0
    assert average[1].num_batches_tracked == 1


def test_two_followers_of_a_constant_converge_to_it():
    module = nn.Linear(2, 2)
    average = frozen_copy(module)
    nn.init.constant_(module.weight, 5.0)
    for _ in range(400):
        follow(average, module, 0.95)
    assert torch.allclose(average.weight, module.weight, atol=1e-5)


def test_bad_width_reaches_the_user_as_one_line(make_run):
    """method.build turns what a network refuses into a message that names the settings."""
    from structgan.errors import UserError
    from structgan.files import read_json

    config_json = read_json(make_run("random", settings={"encoder": {"width": 6}}) / "config.json")
    with pytest.raises(UserError, match=r"methods\.random\.settings.*width"):
        method.build(config_json, 10)
