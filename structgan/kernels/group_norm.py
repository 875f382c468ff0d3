"""GroupNorm, a shortcut's sum and ELU: values and tangents.

    y = F.elu(F.group_norm(x.float(), groups, weight, bias, eps).to(x.dtype) + shortcut)
    out = torch.func.jvp(y, (x, shortcut), (t, t_shortcut))[1]
    grads = torch.autograd.grad((y, out), (x, shortcut, t, t_shortcut, weight, bias))

A program has one group of one image, which it reads in tiles: once for the sums, and again, from the cache, to write.
With z = (x - mean(x)) r, P(g) = r (g - mean(g) - z mean(z g)), d = P(t) and f = 1 + min(y, 0), the tangent is
f (w d + t_shortcut). Its gradient in x is -r [mean(z c) d + mean(z t) P(c) + mean(c d) z] with c = w f grad.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from structgan.kernels.elu import slope

TILE = 4096
"""Elements that a program holds at once."""


@triton.jit
def places(start, base, PIXELS, C, K: tl.constexpr, P: tl.constexpr, KP: tl.constexpr):
    """Offsets and mask of a tile, whose rows are pixels and whose columns are a group's channels."""
    pixel, channel = start + tl.arange(0, P)[:, None], tl.arange(0, KP)[None, :]
    return base + pixel * C + channel, (pixel < PIXELS) & (channel < K)


@triton.jit
def read(pointer, at, mask):
    return tl.load(pointer + at, mask, 0.0).to(tl.float32)


@triton.jit
def group_of(program, weight, PIXELS, C, K: tl.constexpr, KP: tl.constexpr):
    """Where a program's group begins in a map; places and mask of its channels in a row for each image; its weights."""
    image, group = (program // (C // K)).to(tl.int64), program % (C // K)
    channel = tl.arange(0, KP)
    w = tl.load(weight + group * K + channel, channel < K, 0.0).to(tl.float32)[None, :]
    return image * PIXELS * C + group * K, image * C + group * K + channel, channel < K, w


@triton.jit
def through_elu(grad, y, at, mask, ELU: tl.constexpr):
    """The gradient of what ELU, if there is one, was given."""
    given = read(grad, at, mask)
    if ELU:
        given *= slope(read(y, at, mask))
    return given


@triton.jit
def value_kernel(
    x, shortcut, weight, bias, y, means, rs, eps,
    PIXELS, C, K: tl.constexpr, P: tl.constexpr, KP: tl.constexpr,
    ADD: tl.constexpr, ELU: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    base, _row, _some, w = group_of(program, weight, PIXELS, C, K, KP)
    b = group_of(program, bias, PIXELS, C, K, KP)[3]
    count, mean, squares = 0.0, 0.0, 0.0
    for start in range(0, PIXELS, P):  # statistics of tiles are merged as by Chan et al. 1983
        at, mask = places(start, base, PIXELS, C, K, P, KP)
        value = read(x, at, mask)
        n = tl.minimum(PIXELS - start, P) * K * 1.0
        own = tl.sum(tl.sum(value, 1), 0) / n
        centered = tl.where(mask, value - own, 0.0)
        apart, total = own - mean, count + n
        squares += tl.sum(tl.sum(centered * centered, 1), 0) + apart * apart * count * n / total
        mean += apart * n / total
        count = total
    r = 1.0 / tl.sqrt(squares / count + eps)
    tl.store(means + program, mean)
    tl.store(rs + program, r)
    for start in range(0, PIXELS, P):
        at, mask = places(start, base, PIXELS, C, K, P, KP)
        out = (read(x, at, mask) - mean) * r * w + b
        if ADD:
            out += read(shortcut, at, mask)
        if ELU:
            out = tl.where(out > 0, out, tl.exp(out) - 1)
        tl.store(y + at, out, mask)


@triton.jit
def value_backward_kernel(
    grad, x, y, weight, means, rs, grad_x, grad_shortcut, grad_weight, grad_bias,
    PIXELS, C, K: tl.constexpr, P: tl.constexpr, KP: tl.constexpr,
    ADD: tl.constexpr, ELU: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    base, row, some, w = group_of(program, weight, PIXELS, C, K, KP)
    mean, r = tl.load(means + program), tl.load(rs + program)
    by_weight, by_bias = tl.zeros((KP,), tl.float32), tl.zeros((KP,), tl.float32)
    for start in range(0, PIXELS, P):
        at, mask = places(start, base, PIXELS, C, K, P, KP)
        given = through_elu(grad, y, at, mask, ELU)
        by_bias += tl.sum(given, 0)
        by_weight += tl.sum(given * (read(x, at, mask) - mean) * r, 0)
    tl.store(grad_weight + row, by_weight, some)
    tl.store(grad_bias + row, by_bias, some)
    scale = tl.sum(w, 0)
    level, tilt = tl.sum(by_bias * scale, 0) / (PIXELS * K), tl.sum(by_weight * scale, 0) / (PIXELS * K)
    for start in range(0, PIXELS, P):
        at, mask = places(start, base, PIXELS, C, K, P, KP)
        given = through_elu(grad, y, at, mask, ELU)
        if ADD:
            tl.store(grad_shortcut + at, given, mask)
        z = (read(x, at, mask) - mean) * r
        tl.store(grad_x + at, r * (given * w - level - z * tilt), mask)


@triton.jit
def tangent_kernel(
    t, t_shortcut, x, y, weight, means, rs, out, levels, tilts,
    PIXELS, C, K: tl.constexpr, P: tl.constexpr, KP: tl.constexpr,
    ADD: tl.constexpr, ELU: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    base, _row, _some, w = group_of(program, weight, PIXELS, C, K, KP)
    mean, r = tl.load(means + program), tl.load(rs + program)
    level, tilt = 0.0, 0.0
    for start in range(0, PIXELS, P):
        at, mask = places(start, base, PIXELS, C, K, P, KP)
        along, z = read(t, at, mask), tl.where(mask, (read(x, at, mask) - mean) * r, 0.0)
        level += tl.sum(tl.sum(along, 1), 0)
        tilt += tl.sum(tl.sum(along * z, 1), 0)
    level, tilt = level / (PIXELS * K), tilt / (PIXELS * K)
    tl.store(levels + program, level)
    tl.store(tilts + program, tilt)
    for start in range(0, PIXELS, P):
        at, mask = places(start, base, PIXELS, C, K, P, KP)
        z = (read(x, at, mask) - mean) * r
        found = w * r * (read(t, at, mask) - level - z * tilt)
        if ADD:
            found += read(t_shortcut, at, mask)
        if ELU:
            found *= slope(read(y, at, mask))
        tl.store(out + at, found, mask)


@triton.jit
def tangent_backward_kernel(
    grad, t, t_shortcut, x, y, weight, means, rs, levels, tilts, grad_t, grad_shortcut, grad_x, grad_y, grad_weight,
    PIXELS, C, K: tl.constexpr, P: tl.constexpr, KP: tl.constexpr,
    ADD: tl.constexpr, ELU: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    base, row, some, w = group_of(program, weight, PIXELS, C, K, KP)
    mean, r = tl.load(means + program), tl.load(rs + program)
    level, tilt = tl.load(levels + program), tl.load(tilts + program)
    of_c, of_z, by_weight = tl.zeros((KP,), tl.float32), tl.zeros((KP,), tl.float32), tl.zeros((KP,), tl.float32)
    for start in range(0, PIXELS, P):
        at, mask = places(start, base, PIXELS, C, K, P, KP)
        given, z = through_elu(grad, y, at, mask, ELU), (read(x, at, mask) - mean) * r
        of_c += tl.sum(given, 0)
        of_z += tl.sum(given * z, 0)
        by_weight += tl.sum(given * r * (read(t, at, mask) - level - z * tilt), 0)
    tl.store(grad_weight + row, by_weight, some)
    scale, count = tl.sum(w, 0), PIXELS * K
    mean_c, mean_zc = tl.sum(of_c * scale, 0) / count, tl.sum(of_z * scale, 0) / count
    mean_cd = tl.sum(by_weight * scale, 0) / count
    for start in range(0, PIXELS, P):
        at, mask = places(start, base, PIXELS, C, K, P, KP)
        raw, z = read(grad, at, mask), (read(x, at, mask) - mean) * r
        d = r * (read(t, at, mask) - level - z * tilt)
        given = raw
        if ELU:
            value, along = read(y, at, mask), w * d
            if ADD:
                along += read(t_shortcut, at, mask)
            tl.store(grad_y + at, tl.where(value < 0, raw * along, 0.0), mask)
            given = raw * slope(value)
        if ADD:
            tl.store(grad_shortcut + at, given, mask)
        by_t = r * (given * w - mean_c - z * mean_zc)
        tl.store(grad_t + at, by_t, mask)
        tl.store(grad_x + at, -r * (mean_zc * d + tilt * by_t + mean_cd * z), mask)


def launch(kernel: Any, x: Tensor, groups: int, *arguments: Any, add: bool, elu: bool) -> None:
    """Run a kernel with a program for each group of each image of a channels-last map."""
    n, channels, height, width = x.shape
    size, pixels = channels // groups, height * width
    columns = triton.next_power_of_2(size)
    rows = max(1, TILE // columns) if pixels > 64 else 64  # few forms, because each is compiled
    sizes = {"PIXELS": pixels, "C": channels, "K": size, "P": rows, "KP": columns}
    kernel[(n * groups,)](*arguments, **sizes, ADD=add, ELU=elu, num_warps=4)


def channels_last(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.contiguous(memory_format=torch.channels_last)


def like(x: Tensor, wanted: bool = True) -> Tensor | None:
    return torch.empty_like(x) if wanted else None


class Value(torch.autograd.Function):
    """y, and the mean and reciprocal deviation of each group, (N, groups) float32; ``shortcut`` may be None."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, shortcut: Tensor | None, weight: Tensor, bias: Tensor, groups: int, eps: float, elu: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        y, add = torch.empty_like(x), shortcut is not None
        mean, r = (x.new_empty(len(x), groups, dtype=torch.float32) for _ in range(2))
        launch(value_kernel, x, groups, x, shortcut, weight, bias, y, mean, r, eps, add=add, elu=elu)
        ctx.save_for_backward(x, y if elu else None, weight, mean, r)
        ctx.groups, ctx.add, ctx.elu = groups, add, elu
        ctx.mark_non_differentiable(mean, r)
        return y, mean, r

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        x, y, weight, mean, r = ctx.saved_tensors
        grad_x, grad_shortcut = torch.empty_like(x), like(x, ctx.add)
        by_weight, by_bias = (x.new_empty(len(x), x.shape[1], dtype=torch.float32) for _ in range(2))
        given = (channels_last(grad), x, y, weight, mean, r)
        written = (grad_x, grad_shortcut, by_weight, by_bias)
        launch(value_backward_kernel, x, ctx.groups, *given, *written, add=ctx.add, elu=ctx.elu)
        return grad_x, grad_shortcut, by_weight.sum(0), by_bias.sum(0), None, None, None


class Tangent(torch.autograd.Function):
    """The tangent of ``Value`` along t and ``t_shortcut``, with gradients in both, x, y and weight."""

    @staticmethod
    def forward(ctx: Any, t: Tensor, t_shortcut: Tensor | None, x: Tensor, y: Tensor | None, *norm: Tensor) -> Tensor:
        given, (_, mean, _) = (t, t_shortcut, x, y, *norm), norm  # weight, mean and r
        out, ctx.add, ctx.elu = torch.empty_like(t), t_shortcut is not None, y is not None
        level, tilt = torch.empty_like(mean), torch.empty_like(mean)
        launch(tangent_kernel, x, mean.shape[1], *given, out, level, tilt, add=ctx.add, elu=ctx.elu)
        ctx.save_for_backward(*given, level, tilt)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        t, t_shortcut, x, y, weight, mean, r, level, tilt = ctx.saved_tensors
        grad_t, grad_shortcut, grad_x, grad_y = torch.empty_like(t), like(t, ctx.add), like(x), like(x, ctx.elu)
        by_weight = x.new_empty(len(x), x.shape[1], dtype=torch.float32)
        given = (channels_last(grad), t, t_shortcut, x, y, weight, mean, r, level, tilt)
        written = (grad_t, grad_shortcut, grad_x, grad_y, by_weight)
        launch(tangent_backward_kernel, x, mean.shape[1], *given, *written, add=ctx.add, elu=ctx.elu)
        return grad_t, grad_shortcut, grad_x, grad_y, by_weight.sum(0), None, None
