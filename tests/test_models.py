"""Networks: their shape and size, the image sizes that they take, spectral norm, and what is refused."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from tiny_networks import double_net, pictures, transcribed
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from structgan import config, method
from structgan.models.discriminator import Backbone, Discriminator
from structgan.models.generator import Generator
from structgan.models.spectral import spectrally_normalized


@pytest.mark.parametrize(("size", "blocks"), [(16, [1, 2]), (32, [2, 1, 1]), (64, [1, 1]), (96, [1]), (128, [1])])
def test_discriminator_is_the_one_described(size, blocks):
    net = double_net(size, blocks=blocks)
    images = pictures(2, size)
    features, embeddings = net(images)
    assert features.shape == (2, 8 * 2 ** (len(blocks) - 1)) == (2, net.backbone.features)
    assert torch.allclose(embeddings, transcribed(net, blocks=blocks)(images), rtol=1e-9, atol=1e-11)


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_networks_of_the_paper_have_their_size():
    settings = config.load([])["methods"]["structural"]["settings"]
    net = Discriminator(32, **settings["discriminator"])
    assert count(net) == 11_493_184
    assert count(Generator(32, **settings["generator"])) == 5_025_667 - 5_376  # biases that batch norms cancel
    assert net.backbone.features == 512 and len(net.backbone.layers) == 8
    for module in net.modules():
        assert not isinstance(module, nn.MaxPool2d | nn.BatchNorm2d)
        if isinstance(module, nn.GroupNorm):
            assert module.num_channels // module.num_groups == 16
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] ** 2
            assert module.stride == (1, 1) and module.bias is None
            assert module.weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=0.1)


def test_generator_of_the_paper_costs_and_starts_as_in_the_release():
    """1.34 GFLOP an image; Kaiming-normal by fan-out; the last block of each resolution upsamples."""
    torch.manual_seed(0)
    net = Generator(32, **config.load([])["methods"]["structural"]["settings"]["generator"])
    with FlopCounterMode(display=False) as counter:
        net(torch.randn(2, 128))
    assert counter.get_total_flops() / 2 / 1e9 == pytest.approx(1.34, abs=0.005)
    assert [block.scale for block in net.blocks] == [1, 2, 1, 2, 1, 2]
    layers = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == 2 + 6 * (4 + 2 * 4) + 1
    for layer in layers:
        weight = layer.parametrizations.weight.original
        fan_out = len(weight) * weight[0, 0].numel()
        assert weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=0.1)


def test_biases_inside_blocks_would_do_nothing():
    """The release has them; the batch norm that follows cancels each."""
    torch.manual_seed(0)
    net = Generator(16, latent=8, condition=8, channels=8, hidden=4, blocks=2).double()
    twin, latents = copy.deepcopy(net), torch.randn(6, 8, dtype=torch.float64)
    for block in twin.blocks:
        for conv in block.convs:
            conv.bias = nn.Parameter(torch.randn(conv.out_channels, dtype=torch.float64))
    assert torch.allclose(net(latents), twin(latents), rtol=1e-9, atol=1e-12)


def test_spectral_norms_start_cold_and_go_on_from_pass_to_pass():
    """u starts as normal numbers, a training pass takes one power iteration, an evaluation leaves u alone."""
    torch.manual_seed(0)
    layer = spectrally_normalized(nn.Linear(6, 9, bias=False))
    norm, weight = layer.parametrizations.weight[0], layer.parametrizations.weight.original.detach()
    u = norm.u.clone()
    assert u.norm() > 1.5  # not of unit length: no iteration has been made
    for training in (False, True, True, False):
        layer.train(training)
        v = (weight.T @ u) / (weight.T @ u).norm()
        image = weight @ v
        assert torch.allclose(layer.weight, weight / image.norm(), rtol=1e-5)
        u = image / image.norm() if training else u
        assert torch.allclose(norm.u, u, atol=1e-6)


def test_stem_is_the_one_for_small_images():
    stem = Backbone(32, width=8, blocks=[1], channels_per_group=4).stem
    first = next(stem.children())
    assert isinstance(first, nn.Conv2d) and first.kernel_size == (3, 3) and first.stride == (1, 1)
    assert stem(torch.zeros(1, 3, 32, 32)).shape == (1, 8, 32, 32)


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


def test_generator_is_spectrally_normalized_everywhere():
    torch.manual_seed(0)
    generator = Generator(16, latent=8, condition=8, channels=8, hidden=4, blocks=2)
    layers = [m for m in generator.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == 2 + 4 * (4 + 2 * 4) + 1 and len(generator.blocks) == 4
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


def test_bad_width_reaches_the_user_as_one_line(make_run):
    """method.build turns what a network refuses into a message that names the settings."""
    from structgan.errors import UserError
    from structgan.files import read_json

    config_json = read_json(make_run("random", settings={"encoder": {"width": 6}}) / "config.json")
    with pytest.raises(UserError, match=r"methods\.random\.settings.*width"):
        method.build(config_json, 10)
