"""Spectral normalisation: weights divided by their largest singular value, computed once and in full precision."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TypeVar

import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm

M = TypeVar("M", bound=nn.Module)


def spectrally_normalised(network: M) -> M:
    """``network`` with every convolution and linear layer spectrally normalised (Miyato et al. 2018), in place."""
    for module in list(network.modules()):
        if isinstance(module, nn.Conv2d | nn.Linear):
            spectral_norm(module)
    return network


@contextlib.contextmanager
def settled(network: nn.Module) -> Iterator[None]:
    """Normalised weights are computed here, outside any autocast, and hold for all passes in the context.

    In training mode their power iteration moves on once, however many passes there are.
    """
    with parametrize.cached():
        device = next(network.parameters()).device.type
        with torch.autocast(device, enabled=False):
            for module in network.modules():
                if parametrize.is_parametrized(module, "weight"):
                    _ = module.weight
        yield
