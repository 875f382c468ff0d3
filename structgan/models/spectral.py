"""Spectral normalization: weights divided by their largest singular value, in full precision and once a pass."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

M = TypeVar("M", bound=nn.Module)
EPSILON = 1e-6
"""Smallest length that a vector of the power iteration is divided by; the authors' release has the same."""


class SpectralNorm(nn.Module):
    """W / sigma, with sigma from one power iteration that goes on from pass to pass (Miyato et al. 2018).

    In training mode a pass computes v = W^T u / |W^T u| and then u = W v / |W v|, and keeps u; sigma = u^T W v, with
    gradients through W alone. In evaluation mode it computes the same and keeps nothing. u starts as random normal
    numbers, without any iterations before the first pass, as in BigGAN and in the authors' release.
    ``torch.nn.utils.parametrizations.spectral_norm`` starts with 15 iterations and takes the two halves of an
    iteration in the other order.

    Shape: (outputs, ...), kernels of convolutions included; the result has the same.
    """

    u: Tensor

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.register_buffer("u", torch.randn(outputs))

    def forward(self, weight: Tensor) -> Tensor:
        matrix = weight.flatten(1)
        with torch.no_grad():
            v = F.normalize(self.u @ matrix, dim=0, eps=EPSILON)
            u = F.normalize(matrix @ v, dim=0, eps=EPSILON)
            if self.training:
                self.u.copy_(u)
        return weight / torch.dot(u, matrix @ v)


def spectrally_normalized(network: M) -> M:
    """``network`` with every convolution and linear layer spectrally normalized, in place."""
    for module in list(network.modules()):
        if isinstance(module, nn.Conv2d | nn.Linear):
            # unsafe leaves out PyTorch's check, a pass that would already move u
            parametrize.register_parametrization(module, "weight", SpectralNorm(len(module.weight)), unsafe=True)
    return network


@contextlib.contextmanager
def cached_spectral_norm(network: nn.Module) -> Iterator[None]:
    """Normalized weights are computed here, outside any autocast, and hold for all passes in the context.

    In training mode their power iteration moves on once, however many passes there are.
    """
    with parametrize.cached():
        device = next(network.parameters()).device.type
        with torch.autocast(device, enabled=False):
            for module in network.modules():
                if parametrize.is_parametrized(module, "weight"):
                    _ = module.weight
        yield
