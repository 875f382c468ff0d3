"""A discriminator that is small and exact enough to be compared with the reference step, and what it is given."""

import torch
from torch import nn

from benchmarks import reference_networks
from structgan.models.discriminator import Discriminator

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


def transcribed(net, **changes):
    """The reference's form of a tiny discriminator, with its weights."""
    book = reference_networks.Discriminator(**{**TINY, **changes}).to(next(net.parameters()).dtype)
    reference_networks.copy_parameters(net, book)
    return book


def jacobian(book, image):
    """J = de/dx of one image by the reference step. Shape: image (3, H, W) to (C, 3HW)."""
    return torch.func.jacrev(lambda x: book(x[None])[0])(image).flatten(1)
