"""Batch norm with a gain and a bias for each image, then ReLU, in training.

    z = F.batch_norm(x.float(), None, None, training=True, eps=eps)  # of each group of ``size`` consecutive images
    y = F.relu((bias[:, :, None, None] + z * (1 + gain[:, :, None, None])).to(x.dtype))

A program has some channels of one image. The images' statistics are merged by PyTorch.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from structgan.kernels.group_norm import read

CHANNELS, TILE = 64, 4096
"""Channels of a program, and elements that it holds at once."""


@triton.jit
def places(start, PIXELS, C, P: tl.constexpr, K: tl.constexpr):
    """Offsets and mask of a tile of pixels and channels; offset and mask of its channels in a row for each image."""
    image, channel = tl.program_id(0).to(tl.int64), tl.program_id(1) * K + tl.arange(0, K)
    pixel = start + tl.arange(0, P)[:, None]
    at = image * PIXELS * C + pixel * C + channel[None, :]
    return at, (pixel < PIXELS) & (channel < C)[None, :], image * C + channel, channel < C


@triton.jit
def statistics_kernel(x, means, variances, PIXELS, C, P: tl.constexpr, K: tl.constexpr):
    count, mean, squares = 0.0, tl.zeros((K,), tl.float32), tl.zeros((K,), tl.float32)
    for start in range(0, PIXELS, P):  # statistics of tiles are merged as by Chan et al. 1983
        at, mask, row, some = places(start, PIXELS, C, P, K)
        value = read(x, at, mask)
        n = tl.minimum(PIXELS - start, P) * 1.0
        own = tl.sum(value, 0) / n
        centered = tl.where(mask, value - own[None, :], 0.0)
        apart, total = own - mean, count + n
        squares += tl.sum(centered * centered, 0) + apart * apart * count * n / total
        mean += apart * n / total
        count = total
    at, mask, row, some = places(0, PIXELS, C, P, K)
    tl.store(means + row, mean, some)
    tl.store(variances + row, squares / count, some)


@triton.jit
def value_kernel(
    x, mean, r, gain, bias, y, PIXELS, C, P: tl.constexpr, K: tl.constexpr
):  # fmt: skip
    at, mask, row, some = places(0, PIXELS, C, P, K)
    m, scale = read(mean, row, some)[None, :], (read(r, row, some) * (1 + read(gain, row, some)))[None, :]
    b = read(bias, row, some)[None, :]
    for start in range(0, PIXELS, P):
        at, mask, row, some = places(start, PIXELS, C, P, K)
        tl.store(y + at, tl.maximum((read(x, at, mask) - m) * scale + b, 0.0), mask)


@triton.jit
def sums_kernel(
    grad, x, y, mean, r, by_gain, by_bias, PIXELS, C, P: tl.constexpr, K: tl.constexpr
):  # fmt: skip
    of_grad, of_z = tl.zeros((K,), tl.float32), tl.zeros((K,), tl.float32)
    at, mask, row, some = places(0, PIXELS, C, P, K)
    m, scale = read(mean, row, some)[None, :], read(r, row, some)[None, :]
    for start in range(0, PIXELS, P):
        at, mask, row, some = places(start, PIXELS, C, P, K)
        given = tl.where(read(y, at, mask) > 0, read(grad, at, mask), 0.0)
        of_grad += tl.sum(given, 0)
        of_z += tl.sum(given * (read(x, at, mask) - m) * scale, 0)
    at, mask, row, some = places(0, PIXELS, C, P, K)
    tl.store(by_gain + row, of_z, some)
    tl.store(by_bias + row, of_grad, some)


@triton.jit
def backward_kernel(
    grad, x, y, mean, r, gain, level, tilt, grad_x,
    PIXELS, C, P: tl.constexpr, K: tl.constexpr,
):  # fmt: skip
    at, mask, row, some = places(0, PIXELS, C, P, K)
    m, scale, s = read(mean, row, some)[None, :], read(r, row, some)[None, :], (1 + read(gain, row, some))[None, :]
    a, b = read(level, row, some)[None, :], read(tilt, row, some)[None, :]
    for start in range(0, PIXELS, P):
        at, mask, row, some = places(start, PIXELS, C, P, K)
        given = tl.where(read(y, at, mask) > 0, read(grad, at, mask), 0.0) * s
        tl.store(grad_x + at, scale * (given - a - (read(x, at, mask) - m) * scale * b), mask)


def launch(kernel: Any, x: Tensor, *arguments: Tensor) -> None:
    """Run a kernel with a program for each block of channels of each image of a channels-last map."""
    n, channels, height, width = x.shape
    sizes = {"PIXELS": height * width, "C": channels, "P": TILE // CHANNELS, "K": CHANNELS}
    kernel[(n, triton.cdiv(channels, CHANNELS))](*arguments, **sizes)


class ConditionalReLU(torch.autograd.Function):
    """y, and the mean and variance of each group of ``size`` images, (N / size, C) float32.

    Shape: x (N, C, H, W), channels last; gain and bias (N, C).
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gain: Tensor, bias: Tensor, size: int, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        n, channels = x.shape[:2]
        means, variances = (x.new_empty(n, channels, dtype=torch.float32) for _ in range(2))
        launch(statistics_kernel, x, x, means, variances)
        grouped = means.unflatten(0, (-1, size))
        mean = grouped.mean(1)
        variance = (variances.unflatten(0, (-1, size)) + (grouped - mean[:, None]).square()).mean(1)
        rows = [value.repeat_interleave(size, 0) for value in (mean, (variance + eps).rsqrt())]
        y, gain, bias = torch.empty_like(x), gain.contiguous(), bias.contiguous()
        launch(value_kernel, x, x, *rows, gain, bias, y)
        ctx.save_for_backward(x, y, *rows, gain)
        ctx.size = size
        ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        x, y, mean, r, gain = ctx.saved_tensors
        grad, grad_x = grad.contiguous(memory_format=torch.channels_last), torch.empty_like(x)
        by_gain, by_bias = torch.empty_like(mean), torch.empty_like(mean)
        launch(sums_kernel, x, grad, x, y, mean, r, by_gain, by_bias)
        pixels = x.shape[2] * x.shape[3]

        def spread(sums: Tensor) -> Tensor:
            """The mean over a group of (1 + gain) times a sum, in a row for each image."""
            grouped = ((1 + gain.float()) * sums).unflatten(0, (-1, ctx.size))
            return (grouped.mean(1) / pixels).repeat_interleave(ctx.size, 0)

        launch(backward_kernel, x, grad, x, y, mean, r, gain, spread(by_bias), spread(by_gain), grad_x)
        return grad_x, by_gain.to(gain.dtype), by_bias.to(gain.dtype), None, None
