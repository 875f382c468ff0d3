"""Networks: their shape and size, the image sizes that they take, spectral norm, and what is refused."""

import math

import pytest
import torch
import torchvision
from tiny_networks import double_net, pictures, transcribed
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from structgan.models import encoder
from structgan.models.discriminator import Backbone, Discriminator
from structgan.models.generator import Generator
from structgan.models.spectral import spectrally_normalized

TINY = {"latent": 8, "condition": 8, "channels": 8, "hidden": 4, "blocks": 2}


def count(module):
    return sum(p.numel() for p in module.parameters())


def starts_kaiming_normal(weight):
    fan_out = len(weight) * weight[0, 0].numel()
    return weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=0.1)


@pytest.mark.parametrize(("size", "blocks"), [(16, [1, 2]), (32, [2, 1, 1]), (64, [1, 1]), (96, [1]), (128, [1])])
def test_discriminator_is_the_one_described(size, blocks):
    net, images = double_net(size, blocks=blocks), pictures(2, size)
    features, embeddings = net(images)
    assert features.shape == (2, 8 * 2 ** (len(blocks) - 1)) == (2, net.backbone.features)
    assert torch.allclose(embeddings, transcribed(net, blocks=blocks)(images), rtol=1e-9, atol=1e-11)


def test_discriminator_of_the_paper_has_its_size(base):
    net = Discriminator(32, **base["methods"]["structural"]["settings"]["discriminator"])
    assert count(net) == 11_493_184 and net.backbone.features == 512 and len(net.backbone.layers) == 8
    for module in net.modules():
        if isinstance(module, nn.GroupNorm):
            assert module.num_channels // module.num_groups == 16
        if isinstance(module, nn.Conv2d):
            assert module.stride == (1, 1) and module.bias is None and starts_kaiming_normal(module.weight)


def test_generator_of_the_paper_has_its_size_and_costs_and_starts_as_in_the_release(base):
    """1.34 GFLOP an image and spectral norms; Kaiming-normal by fan-out; the last block of a resolution upsamples."""
    torch.manual_seed(0)
    net = Generator(32, **base["methods"]["structural"]["settings"]["generator"])
    assert count(net) == 5_025_667 - 5_376  # biases that batch norms cancel
    with FlopCounterMode(display=False) as counter:
        net(torch.randn(2, 128))
    assert counter.get_total_flops() / 2 / 1e9 == pytest.approx(1.34, abs=0.01)
    assert [block.scale for block in net.blocks] == [1, 2, 1, 2, 1, 2]
    layers = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == 2 + 6 * (4 + 2 * 4) + 1
    assert all(starts_kaiming_normal(layer.parametrizations.weight.original) for layer in layers)


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


@pytest.mark.parametrize("size", [12, 20, 28, 48])
def test_other_resolutions_of_the_generator(size):
    assert Generator(size, **{**TINY, "blocks": 1})(torch.randn(2, 8)).shape == (2, 3, size, size)


@pytest.mark.parametrize("size", [3, 9, 17, 50])
def test_impossible_resolution_is_named(size):
    with pytest.raises(ValueError, match=f"{size} pixels"):
        Generator(size, **TINY)


@pytest.mark.parametrize(
    ("width", "stages", "words"), [(2, 1, "channels_per_group"), (6, 1, "width"), (4, 6, "blocks")]
)
def test_impossible_backbones_are_named(width, stages, words):
    with pytest.raises(ValueError, match=words):
        Backbone(16, width=width, blocks=[1] * stages, channels_per_group=4)


def test_the_encoder_of_the_authors_is_resnet_18_with_a_stem_for_small_images():
    settings = {"width": 64, "blocks": [2, 2, 2, 2], "channels_per_group": 16}
    net = encoder.build(32, **settings, norm="batch")
    theirs = torchvision.models.resnet18()
    assert count(net) == count(theirs) - count(theirs.fc) - 64 * 3 * (49 - 9)  # a 3x3 kernel in place of 7x7
    mine, layers = net.stages, [theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4]
    for ours, layer in zip(mine, layers, strict=True):
        ours.load_state_dict(layer.state_dict())
    images = pictures(4, 32).float()
    x = net.stem(images)
    for layer in layers:
        x = layer(x)
    assert torch.equal(net(images), x.mean((2, 3))) and net.features == 512
    assert [tuple(found.shape[1:]) for found in net.feature_maps(images)] == [
        (64, 32, 32),
        (128, 16, 16),
        (256, 8, 8),
        (512, 4, 4),
    ]
    assert isinstance(encoder.build(32, **settings, norm="group"), Backbone)
