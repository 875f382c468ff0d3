"""Resampling along both axes, each sample of a batch with its own matrices: crop, flip, resize and blur are such."""

import math

import torch
from torch import Tensor

TRIES = 10
"""Boxes drawn for a sample before the central one is taken, as in torchvision's ``RandomResizedCrop``."""


def separable(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Apply a matrix to each axis of each image: ``rows @ image @ columnsᵀ`` for every channel.

    Args:
        images: (N, C, H, W), of any real type.
        rows: (N, H', H) float32.
        columns: (N, W', W) float32.

    Returns:
        (N, C, H', W'), float64 for images of that type, else float32.
    """
    count, channels, height, width = images.shape
    kind = torch.promote_types(images.dtype, torch.float32)
    rows, columns = rows.to(kind), columns.to(kind)
    flat = images.permute(0, 2, 1, 3).to(kind).reshape(count, height, channels * width)
    tall, wide = rows.shape[1], columns.shape[1]
    flat = torch.bmm(rows, flat).reshape(count, tall * channels, width)
    flat = torch.bmm(flat, columns.transpose(1, 2))  # (N, H'·C, W')
    return flat.view(count, tall, channels, wide).permute(0, 2, 1, 3).contiguous()


def boxes(uniform: Tensor, size: int, area: tuple[float, float], ratio: tuple[float, float]) -> tuple[Tensor, ...]:
    """Boxes as ``RandomResizedCrop`` draws them: area and log aspect ratio uniform, then a uniform integer place.

    Args:
        uniform: (N, 2·TRIES + 2) in [0, 1).
        size: height and width of the images in pixels.
        area: share of the image's area, least and greatest.
        ratio: width over height, least and greatest.

    Returns:
        top, left, height, width, each (N,) float32 holding whole numbers of pixels.
    """
    share = area[0] + uniform[:, :TRIES] * (area[1] - area[0])
    low, high = math.log(ratio[0]), math.log(ratio[1])
    aspect = torch.exp(low + uniform[:, TRIES : 2 * TRIES] * (high - low))
    sides = torch.stack([(share / aspect).sqrt(), (share * aspect).sqrt()]).mul_(size).round_()  # (2, N, TRIES)
    fits = ((sides > 0) & (sides <= size)).all(0)
    sides = sides.gather(2, fits.float().argmax(1)[None, :, None].expand(2, -1, 1))[:, :, 0]
    central = torch.tensor([min(1.0, 1 / ratio[0]), min(1.0, ratio[1])]).mul_(size).round_().clamp_(min=1)
    found = fits.any(1)
    sides = torch.where(found, sides, central[:, None])
    room = size - sides
    place = torch.minimum((uniform[:, 2 * TRIES :].T * (room + 1)).floor_(), room)
    place = torch.where(found, place, (room / 2).round_())
    return place[0], place[1], sides[0], sides[1]


def crop_matrix(first: Tensor, length: Tensor, flip: Tensor, size: int, cubic: bool) -> Tensor:
    """The matrices that enlarge ``length`` pixels from ``first`` on to ``size`` pixels, mirrored where ``flip``.

    Weights are Pillow's for an enlargement: the kernel at each pixel's distance from the sampled point, zero outside
    the box, with sum 1.

    Args:
        first, length: (N,) whole numbers as float32, ``first + length <= size``.
        flip: (N,) bool.
        size: pixels before and after.
        cubic: bicubic with a = -0.5, else linear.

    Returns:
        (N, size, size) float32.
    """
    steps = torch.arange(size, device=first.device, dtype=torch.float32) + 0.5
    at = steps * (length / size)[:, None]  # (N, out), measured from the box's edge
    at = torch.where(flip[:, None], length[:, None] - at, at)
    pixel = steps - first[:, None]  # (N, in), likewise
    inside = (pixel > 0) & (pixel < length[:, None])
    away = (pixel[:, None, :] - at[:, :, None]).abs_()  # (N, out, in)
    weights = _cubic(away) if cubic else (1 - away).clamp_(min=0)
    weights *= inside[:, None, :]
    return weights.div_(weights.sum(2, keepdim=True))


def _cubic(away: Tensor) -> Tensor:
    """Keys' kernel with a = -0.5 at distances >= 0, as truncated powers, which need no branch at 1."""
    outer, inner = (2 - away).clamp_(min=0), (1 - away).clamp_(min=0)
    kernel = (outer - 1).mul_(outer).mul_(outer).mul_(0.5)
    return kernel.add_((1 - 2 * inner).mul_(inner).mul_(inner))


def reflected_taps(size: int, kernel: int) -> Tensor:
    """(kernel, size·size): tap t as the matrix that picks pixel i + t - kernel // 2, reflected at the borders."""
    taps = torch.zeros(kernel, size, size)
    at = torch.arange(size)
    for tap in range(kernel):
        source = (at + tap - kernel // 2).abs()
        taps[tap, at, torch.minimum(source, 2 * (size - 1) - source)] = 1
    return taps.flatten(1)


def blur_matrix(sigma: Tensor, taps: Tensor) -> Tensor:
    """The matrices of a Gaussian blur.

    Args:
        sigma: (N,) standard deviations in pixels, > 0.
        taps: from ``reflected_taps``.

    Returns:
        (N, size, size) float32.
    """
    half = len(taps) // 2
    offsets = torch.arange(-half, half + 1, device=sigma.device, dtype=torch.float32)
    weights = torch.exp(-0.5 * (offsets / sigma[:, None]) ** 2)
    weights = weights / weights.sum(1, keepdim=True)
    size = math.isqrt(taps.shape[1])
    return (weights @ taps).view(-1, size, size)
