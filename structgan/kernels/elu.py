"""The tangent of ELU, in one pass each way.

out = t * (1 + y.clamp(max=0))  # y = elu(x)
grad_t, grad_y = grad * (1 + y.clamp(max=0)), (grad * t).where(y < 0, 0)
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024


@triton.jit
def slope(y):
    """The derivative of ELU where its value is y."""
    return 1 + tl.minimum(y, 0.0)


@triton.jit
def forward_kernel(t, y, out, count, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = at < count
    value = tl.load(y + at, mask, 0.0).to(tl.float32)
    tl.store(out + at, tl.load(t + at, mask, 0.0).to(tl.float32) * slope(value), mask)


@triton.jit
def backward_kernel(grad, t, y, grad_t, grad_y, count, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = at < count
    value, given = tl.load(y + at, mask, 0.0).to(tl.float32), tl.load(grad + at, mask, 0.0).to(tl.float32)
    tl.store(grad_t + at, given * slope(value), mask)
    tl.store(grad_y + at, tl.where(value < 0, given * tl.load(t + at, mask, 0.0).to(tl.float32), 0.0), mask)


class Tangent(torch.autograd.Function):
    """The tangent t of elu(x) with value y; both of one shape and layout."""

    @staticmethod
    def forward(ctx: Any, t: Tensor, y: Tensor) -> Tensor:
        t = torch.empty_like(y, dtype=t.dtype).copy_(t) if t.stride() != y.stride() else t
        ctx.save_for_backward(t, y)
        out = torch.empty_like(t)
        forward_kernel[(triton.cdiv(t.numel(), BLOCK),)](t, y, out, t.numel(), BLOCK)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        t, y = ctx.saved_tensors
        grad = torch.empty_like(y, dtype=grad.dtype).copy_(grad) if grad.stride() != y.stride() else grad
        grad_t, grad_y = torch.empty_like(t), torch.empty_like(y)
        backward_kernel[(triton.cdiv(t.numel(), BLOCK),)](grad, t, y, grad_t, grad_y, t.numel(), BLOCK)
        return grad_t, grad_y
