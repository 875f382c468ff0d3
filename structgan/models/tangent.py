"""Layers that carry a directional derivative through a network after its values.

The values go first and leave on a tape what the rules for tangents need. So one pass of values serves the direction v
(a backward to the images), J v, and the losses of the values. Linear layers act on a tangent as on a value, without
their bias; ELU and GroupNorm have closed-form tangents with closed-form gradients. The result is that of
``torch.func.jvp`` in a fraction of its time, and one ordinary backward goes through both.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from structgan import kernels
from structgan.precision import wide

Saved: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True)
class Traced:
    """A value on its way through a network; each layer leaves an entry on the tape."""

    tensor: Tensor
    tape: list[Saved]


@dataclass(frozen=True)
class Tangent:
    """A tangent on the same way; each layer reads its entry."""

    tensor: Tensor
    tape: Iterator[Saved]


Signal: TypeAlias = Tensor | Traced | Tangent


def fused(x: Signal) -> bool:
    """Whether a signal goes through the fused kernels, see ``structgan.kernels``."""
    return kernels.fused(x if isinstance(x, Tensor) else x.tensor)


class _ELU(torch.autograd.Function):
    """The tangent f t of y = elu(x), with f = 1 + min(y, 0); its gradient in y is t where y < 0, else 0."""

    @staticmethod
    def forward(ctx: Any, t: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(t, y)
        return torch.addcmul(t, t, y.clamp(max=0))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        t, y = ctx.saved_tensors
        bent = torch.ops.aten.hardtanh_backward(grad * t, y, -2, 0)  # elu is above -1: y < 0 alone passes
        return torch.addcmul(grad, grad, y.clamp(max=0)), bent


class _GroupNorm(torch.autograd.Function):
    """The tangent w d of y = w z + b with z = (x - mean(x)) r: d = r (t - mean(t) - z mean(z t)).

    With P(g) = r (g - mean(g) - z mean(z g)) and c = w grad, the gradients are grad_t = P(c) and
    grad_x = -r [mean(z c) d + mean(z t) grad_t + mean(c d) z].
    """

    @staticmethod
    def forward(ctx: Any, t: Tensor, x: Tensor, weight: Tensor, mean: Tensor, r: Tensor) -> Tensor:
        groups = mean.shape[1]
        out = torch.empty_like(t)
        mean, r = mean[:, None, :, None], r[:, None, :, None]
        rows = _grouped(wide(t), groups)
        z = (_grouped(wide(x), groups) - mean).mul_(r)
        slope = _mean(z * rows)
        d = (rows - _mean(rows)).addcmul_(z, slope, value=-1).mul_(r)
        ctx.save_for_backward(z.to(t.dtype), d.to(t.dtype), r, slope, weight)
        torch.mul(d, weight.view(groups, -1), out=_grouped(out, groups))
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        z, d, r, slope, weight = (wide(saved) for saved in ctx.saved_tensors)
        groups = z.shape[2]
        grad = grad.contiguous(memory_format=torch.channels_last)
        rows = _grouped(wide(grad), groups)
        product = rows * d
        grad_weight = product.sum((0, 1)).flatten()
        w = weight.view(groups, -1)
        along_d = _mean(product.mul_(w))
        c = torch.mul(rows, w, out=product)
        tilt = _mean(c * z)
        grad_t = c.sub_(_mean(c)).addcmul_(z, tilt, value=-1).mul_(r)
        grad_x = (d * tilt).addcmul_(grad_t, slope).addcmul_(z, along_d).mul_(-r)
        return _maps(grad_t, grad), _maps(grad_x, grad), grad_weight, None, None


def _grouped(x: Tensor, groups: int) -> Tensor:
    """A channels-last map as rows of groups, without a copy. Shape: (N, C, H, W) to (N, H*W, groups, C/groups)."""
    n, channels, height, width = x.shape
    return x.permute(0, 2, 3, 1).view(n, height * width, groups, channels // groups)


def _maps(rows: Tensor, like: Tensor) -> Tensor:
    """``_grouped`` undone. Shape: (N, H*W, groups, C/groups) to (N, C, H, W), in the type of ``like``."""
    n, channels, height, width = like.shape
    return rows.view(n, height, width, channels).permute(0, 3, 1, 2).to(like.dtype)


def _mean(x: Tensor) -> Tensor:
    """Mean over a group. Shape: (N, H*W, groups, C/groups) to (N, 1, groups, 1)."""
    return x.mean((1, 3), keepdim=True)


class _Layer(nn.Module):
    """A module that takes a tensor, a traced value or a tangent, and returns the same kind.

    A subclass defines ``value``, the layer on a tensor. Unless it is linear, it also defines ``traced``, which returns
    what the tangent rule needs as well, and ``tangent``, the derivative along ``t``.
    """

    def value(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def traced(self, x: Tensor) -> tuple[Tensor, Saved]:
        return self.value(x), ()

    def tangent(self, t: Tensor, *saved: Tensor) -> Tensor:
        return self.value(t)

    def forward(self, x: Any) -> Any:
        if isinstance(x, Tensor):
            return self.value(x)
        if isinstance(x, Tangent):
            return replace(x, tensor=self.tangent(x.tensor, *next(x.tape)))
        tensor, saved = self.traced(x.tensor)
        x.tape.append(saved)
        return replace(x, tensor=tensor)


class Conv2d(_Layer, nn.Conv2d):
    """nn.Conv2d without a bias, which a tangent would not have."""

    def value(self, x: Tensor) -> Tensor:
        assert self.bias is None
        return nn.Conv2d.forward(self, x)


class Linear(_Layer, nn.Linear):
    """nn.Linear; the bias reaches the values only."""

    def value(self, x: Tensor) -> Tensor:
        return nn.Linear.forward(self, x)

    def tangent(self, t: Tensor, *saved: Tensor) -> Tensor:
        return F.linear(t, self.weight)


class ELU(_Layer):
    """elu(x) = x for x > 0, exp(x) - 1 elsewhere; in place."""

    def value(self, x: Tensor) -> Tensor:
        return F.elu_(x)

    def traced(self, x: Tensor) -> tuple[Tensor, Saved]:
        y = self.value(x)
        return y, (y,)

    def tangent(self, t: Tensor, *saved: Tensor) -> Tensor:
        if kernels.fused(t):
            from structgan.kernels import elu

            return elu.Tangent.apply(t, *saved)  # type: ignore[no-any-return, no-untyped-call]
        return _ELU.apply(t, *saved)  # type: ignore[no-any-return, no-untyped-call]


class GroupNorm(_Layer, nn.GroupNorm):
    """nn.GroupNorm with statistics in float32 at least. Shape: (N, C, H, W)."""

    def value(self, x: Tensor) -> Tensor:
        return self.traced(x)[0]

    def traced(self, x: Tensor) -> tuple[Tensor, Saved]:
        n, channels, height, width = x.shape
        given = wide(x) if x.is_cpu else wide(x).contiguous()  # GPU kernels need the plain layout
        sizes = (n, channels, height * width, self.num_groups)
        y, mean, r = torch.native_group_norm(given, self.weight, self.bias, *sizes, self.eps)
        if not x.is_cpu:
            y = y.contiguous(memory_format=torch.channels_last)
        return y.to(x.dtype), (x, self.weight, mean.detach(), r.detach())

    def tangent(self, t: Tensor, *saved: Tensor) -> Tensor:
        x, t = (tensor.contiguous(memory_format=torch.channels_last) for tensor in (saved[0], t))
        return _GroupNorm.apply(t, x, *saved[1:])  # type: ignore[no-any-return, no-untyped-call]

    def forward(self, x: Any) -> Any:
        return self.joined(x, None, elu=False) if self.affine and fused(x) else super().forward(x)

    def joined(self, x: Signal, shortcut: Signal | None, elu: bool) -> Signal:
        """elu(norm(x) + shortcut) by the fused kernels; without a shortcut nothing is added."""
        from structgan.kernels import group_norm

        maps = [None if one is None else one if isinstance(one, Tensor) else one.tensor for one in (x, shortcut)]
        given, other = (one if one is None else one.contiguous(memory_format=torch.channels_last) for one in maps)
        if isinstance(x, Tangent):
            return replace(x, tensor=group_norm.Tangent.apply(given, other, *next(x.tape)))  # type: ignore[no-untyped-call]
        parameters = (self.weight, self.bias, self.num_groups, self.eps, elu)
        y, mean, r = group_norm.Value.apply(given, other, *parameters)  # type: ignore[no-untyped-call]
        if isinstance(x, Tensor):
            return y  # type: ignore[no-any-return]
        x.tape.append((given, y if elu else None, self.weight, mean, r))
        return replace(x, tensor=y)


class AvgPool2d(_Layer):
    """Mean over non-overlapping squares of ``size`` pixels."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def value(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, self.size)


class GlobalAvgPool(_Layer):
    """Mean over the whole map, in float32 at least. Shape: (N, C, H, W) to (N, C)."""

    def value(self, x: Tensor) -> Tensor:
        return wide(x).mean((2, 3))


def add(x: Any, y: Any) -> Any:
    """x + y of two tensors, two traced values or two tangents."""
    return x + y if isinstance(x, Tensor) else replace(x, tensor=x.tensor + y.tensor)
