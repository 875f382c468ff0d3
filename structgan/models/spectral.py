"""Spectral normalization: weights divided by their largest singular value, in full precision and once a pass."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

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
    ready: Tensor | None = None
    """The normalized weight, inside ``cached_spectral_norm``."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.register_buffer("u", torch.randn(outputs))

    def forward(self, weight: Tensor) -> Tensor:
        return normalized([self], [weight])[0] if self.ready is None else self.ready


class _Divided(torch.autograd.Function):
    """W / sigma with sigma = u^T W v; its gradient from g is (g - <g, W / sigma> u v^T) / sigma."""

    @staticmethod
    def forward(ctx: Any, matrices: Tensor, u: Tensor, v: Tensor) -> Tensor:
        sigma = u.mT @ (matrices @ v)
        divided = matrices / sigma
        ctx.save_for_backward(divided, sigma, u, v)
        return divided

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        divided, sigma, u, v = ctx.saved_tensors
        along = grad.flatten(1)[:, None] @ divided.flatten(1)[:, :, None]
        return torch.baddbmm(grad, u, along * v.mT, alpha=-1).div_(sigma), None, None


def normalized(norms: Sequence[SpectralNorm], weights: Sequence[Tensor]) -> list[Tensor]:
    """W / sigma of layers of one mode and size, stacked, because launches cost more than arithmetic; channels-last."""
    rows = [weight.movedim(1, -1) for weight in weights]
    matrices = torch.stack([row.flatten(1) for row in rows])  # (layers, outputs, inputs)
    with torch.no_grad():
        v = F.normalize(torch.stack([norm.u for norm in norms])[:, None] @ matrices, dim=2, eps=EPSILON).mT
        u = F.normalize(matrices @ v, dim=1, eps=EPSILON)
        if norms[0].training:
            torch._foreach_copy_([norm.u for norm in norms], list(u[:, :, 0]))
    divided = _Divided.apply(matrices, u, v)  # type: ignore[no-untyped-call]
    return [one.view(row.shape).movedim(-1, 1) for one, row in zip(divided.unbind(), rows, strict=True)]


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
    alike: dict[Any, list[tuple[SpectralNorm, Tensor]]] = {}
    for module in network.modules():
        if isinstance(module, parametrize.ParametrizationList):
            norm, weight = module[0], module.original
            if isinstance(norm, SpectralNorm) and norm.ready is None:  # else a context around this one has it
                alike.setdefault((len(weight), weight.numel(), norm.training), []).append((norm, weight))
    with torch.autocast(next(network.parameters()).device.type, enabled=False):
        for pairs in alike.values():
            norms, weights = zip(*pairs, strict=True)
            for norm, weight in zip(norms, normalized(norms, weights), strict=True):
                norm.ready = weight
    try:
        yield
    finally:
        for norm in [norm for pairs in alike.values() for norm, _ in pairs]:
            norm.ready = None
