"""Spectral normalization: weights divided by their largest singular value, in full precision and once a pass."""

import contextlib
from collections.abc import Iterator
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

M = TypeVar("M", bound=nn.Module)
EPSILON = 1e-6  # smallest norm that a vector of the power iteration is divided by, as in the authors' release


class SpectralNorm(nn.Module):
    """W / sigma, with sigma from one power iteration that goes on from pass to pass (Miyato et al. 2018).

    A pass computes v = W^T u / |W^T u|, then u = W v / |W v|, and sigma = u^T W v, with gradients through W alone; in
    training mode it keeps u. u starts as random normal numbers, as in BigGAN and in the authors' release, whereas
    ``torch.nn.utils.parametrizations.spectral_norm`` starts with 15 iterations, of the two halves in the other order.

    Shape: (outputs, ...), kernels of convolutions included, to the same.
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
    """Compute normalized weights once, outside any autocast, for all passes in the context.

    In training mode that is one power iteration, however many passes there are.
    """
    with parametrize.cached():
        with torch.autocast(next(network.parameters()).device.type, enabled=False):
            for module in network.modules():
                if parametrize.is_parametrized(module, "weight"):
                    _ = module.weight
        yield
