"""Layers that carry a value and its tangent through the network together.

A Jacobian-vector product J v is the tangent that comes out when (x, v) goes in. Value and tangent lie stacked along the
batch, so that a linear layer is one convolution for both; ELU and GroupNorm have closed-form tangents, and closed-form
gradients of the two together. This computes what ``torch.func.jvp`` computes, in a fraction of its time on a CPU, and
one ordinary backward goes through both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, overload

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Pair:
    """A batch and its directional derivative, stacked. Shape: (2N, ...), values first."""

    stacked: Tensor

    @classmethod
    def of(cls, value: Tensor, tangent: Tensor) -> Pair:
        """A pair of two tensors of equal shape."""
        return cls(torch.cat([value, tangent]))

    @property
    def value(self) -> Tensor:
        return self.stacked[: len(self.stacked) // 2]

    @property
    def tangent(self) -> Tensor:
        return self.stacked[len(self.stacked) // 2 :]


class _AddBias(torch.autograd.Function):
    """Adds a bias to the values in place; the tangents have none."""

    @staticmethod
    def forward(ctx: Any, stacked: Tensor, bias: Tensor) -> Tensor:
        ctx.mark_dirty(stacked)
        stacked[: len(stacked) // 2] += bias if stacked.dim() == 2 else bias.view(-1, 1, 1)
        return stacked

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        values = grad[: len(grad) // 2]
        return grad, values.sum([d for d in range(values.dim()) if d != 1])


class _ELU(torch.autograd.Function):
    """y = elu(x) and its tangent f t with f = 1 + min(y, 0); the gradient of f is f where y < 0, else 0."""

    @staticmethod
    def forward(ctx: Any, stacked: Tensor) -> Tensor:
        x, t = stacked.chunk(2)
        out = torch.empty_like(stacked)
        y, moved = out.chunk(2)
        torch.ops.aten.elu.out(x, out=y)
        torch.addcmul(t, t, y.clamp(max=0), out=moved)
        ctx.save_for_backward(out)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (out,) = ctx.saved_tensors
        y, moved = out.chunk(2)
        grad_y, grad_moved = grad.chunk(2)
        slope = y.clamp(max=0).add_(1)
        result = torch.empty_like(out)
        grad_x, grad_t = result.chunk(2)
        torch.mul(grad_moved, moved, out=grad_x)  # = grad_moved * t * f, and f' = f where y < 0
        grad_x.masked_fill_(y > 0, 0).addcmul_(grad_y, slope)
        torch.mul(grad_moved, slope, out=grad_t)
        return result


class _GroupNorm(torch.autograd.Function):
    """y = w z + b with z = (x - mean(x)) r, and the tangent w d with d = r (t - mean(t) - z mean(z t)).

    With P(g) = r (g - mean(g) - z mean(z g)), a = w grad_y and c = w grad_d, the gradients are
    grad_t = P(c) and grad_x = P(a) - r [mean(z c) d + mean(z t) grad_t + mean(c d) z].
    """

    @staticmethod
    def forward(ctx: Any, stacked: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
        x, t = (_grouped(half, groups) for half in stacked.chunk(2))
        variance, mean = torch.var_mean(x, (1, 3), correction=0, keepdim=True)
        r = (variance + eps).rsqrt_()
        z = (x - mean).mul_(r)
        slope = _mean(z * t)
        d = (t - _mean(t)).addcmul_(z, slope, value=-1).mul_(r)
        ctx.save_for_backward(z, d, r, slope, weight)
        ctx.groups = groups
        out = torch.empty_like(stacked)
        y, moved = (_grouped(half, groups) for half in out.chunk(2))
        w, b = weight.view(groups, -1), bias.view(groups, -1)
        torch.addcmul(b, z, w, out=y)
        torch.mul(d, w, out=moved)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        z, d, r, slope, weight = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last)
        grad_y, grad_d = (_grouped(half, ctx.groups) for half in grad.chunk(2))
        result = torch.empty_like(grad)
        grad_x, grad_t = (_grouped(half, ctx.groups) for half in result.chunk(2))
        w = weight.view(ctx.groups, -1)
        product = grad_y * z
        grad_weight = product.sum((0, 1))
        along_z = _mean(product.mul_(w))
        torch.mul(grad_d, d, out=product)
        grad_weight += product.sum((0, 1))
        along_d = _mean(product.mul_(w))
        c = grad_d * w
        torch.mul(c, z, out=product)
        tilt = _mean(product)
        torch.sub(c, _mean(c), out=grad_t)
        grad_t.addcmul_(z, tilt, value=-1).mul_(r)
        torch.mul(grad_y, w, out=c)
        torch.sub(c, _mean(c), out=grad_x)
        grad_x.addcmul_(z, along_z + along_d, value=-1).addcmul_(d, tilt, value=-1).addcmul_(grad_t, slope, value=-1)
        grad_x.mul_(r)
        return result, grad_weight.flatten(), grad_y.sum((0, 1)).flatten(), None, None


def _grouped(x: Tensor, groups: int) -> Tensor:
    """A channels-last map as rows of groups, without a copy. Shape: (N, C, H, W) to (N, H*W, groups, C/groups)."""
    n, channels, height, width = x.shape
    return x.permute(0, 2, 3, 1).view(n, height * width, groups, channels // groups)


def _mean(x: Tensor) -> Tensor:
    """Mean over a group. Shape: (N, H*W, groups, C/groups) to (N, 1, groups, 1)."""
    return x.mean((1, 3), keepdim=True)


class _Layer(nn.Module):
    """A module that takes a tensor or a pair and returns its like."""

    def value(self, x: Tensor) -> Tensor:
        """The layer on a plain tensor; also the rule of a pair where the layer is linear."""
        raise TypeError(f"{type(self).__name__} has no value rule")

    def pair(self, x: Pair) -> Pair:
        """The layer on values and tangents."""
        return Pair(self.value(x.stacked))

    @overload
    def forward(self, x: Tensor) -> Tensor: ...
    @overload
    def forward(self, x: Pair) -> Pair: ...
    def forward(self, x: Tensor | Pair) -> Tensor | Pair:
        return self.pair(x) if isinstance(x, Pair) else self.value(x)


class Conv2d(_Layer, nn.Conv2d):
    """nn.Conv2d for tensors and pairs; the bias reaches the values only."""

    def value(self, x: Tensor) -> Tensor:
        return nn.Conv2d.forward(self, x)

    def pair(self, x: Pair) -> Pair:
        stacked = F.conv2d(x.stacked, self.weight, None, self.stride, self.padding)
        return Pair(stacked if self.bias is None else _AddBias.apply(stacked, self.bias))  # type: ignore[no-untyped-call]


class Linear(_Layer, nn.Linear):
    """nn.Linear for tensors and pairs; the bias reaches the values only."""

    def value(self, x: Tensor) -> Tensor:
        return nn.Linear.forward(self, x)

    def pair(self, x: Pair) -> Pair:
        return Pair(_AddBias.apply(F.linear(x.stacked, self.weight), self.bias))  # type: ignore[no-untyped-call]


class ELU(_Layer):
    """elu(x) = x for x > 0, exp(x) - 1 elsewhere."""

    def value(self, x: Tensor) -> Tensor:
        return F.elu(x)

    def pair(self, x: Pair) -> Pair:
        return Pair(_ELU.apply(x.stacked))  # type: ignore[no-untyped-call]


class GroupNorm(_Layer, nn.GroupNorm):
    """nn.GroupNorm for tensors and pairs of maps. Shape: (N, C, H, W)."""

    def value(self, x: Tensor) -> Tensor:
        return nn.GroupNorm.forward(self, x)

    def pair(self, x: Pair) -> Pair:
        stacked = x.stacked.contiguous(memory_format=torch.channels_last)
        return Pair(_GroupNorm.apply(stacked, self.weight, self.bias, self.num_groups, self.eps))  # type: ignore[no-untyped-call]


class AvgPool2d(_Layer):
    """Mean over non-overlapping squares of ``size`` pixels."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def value(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, self.size)


class GlobalAvgPool(_Layer):
    """Mean over the whole map. Shape: (N, C, H, W) to (N, C)."""

    def value(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


class Sum(nn.Module):
    """a + b of two branches, for tensors and pairs."""

    def forward(self, x: Tensor | Pair, y: Tensor | Pair) -> Tensor | Pair:
        if isinstance(x, Pair) and isinstance(y, Pair):
            return Pair(x.stacked + y.stacked)
        assert isinstance(x, Tensor) and isinstance(y, Tensor)
        return x + y
