"""Color operations on a batch of float images in [0, 1], each sample with its own parameters, as torchvision has them.

Shapes: images (N, 3, H, W) float32 in [0, 1], parameters (N,) float32 on the same device. Images may take a gradient.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
LUMA = (0.2989, 0.587, 0.114)
"""Weights of red, green and blue in a gray value (ITU-R BT.601, to the digits that torchvision uses)."""


def gray(images: Tensor) -> Tensor:
    """(N, 1, H, W): the gray values."""
    red, green, blue = images[:, 0:1], images[:, 1:2], images[:, 2:3]
    return (red * LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])


def blend_(images: Tensor, operation: Tensor, factor: Tensor) -> Tensor:
    """Brightness, contrast or saturation in place: ``factor·image + (1 - factor)·reference``, clipped to [0, 1].

    The reference is black, the image's mean gray or the image's own gray, so that one blend serves all three and
    each sample may have another.

    Args:
        images: changed in place.
        operation: (N,), BRIGHTNESS, CONTRAST or SATURATION.
        factor: (N,), >= 0; 1 changes nothing.
    """
    kind = operation[:, None, None, None]
    reference = gray(images)
    mean = reference.mean((1, 2, 3), keepdim=True)
    reference = reference.mul_(kind == SATURATION).add_(mean * (kind == CONTRAST))
    weight = factor[:, None, None, None]
    return images.mul_(weight).add_(reference.mul_(1 - weight)).clamp_(0, 1)


def turn_hue(images: Tensor, shift: Tensor) -> Tensor:
    """Turn the hue by ``shift`` of the whole circle, keeping HSV's saturation and value.

    The way through HSV and back is written without saturation: with value v and chroma c, a channel that lies d sixths
    of the circle from the hue is v - c·clip(d - 1, 0, 1).

    Args:
        shift: (N,) in [-0.5, 0.5].
    """
    red, green, blue = images.unbind(1)
    value = images.amax(1)
    chroma = value - images.amin(1)
    scale = chroma.clamp(min=1e-12).reciprocal_()
    # The hue's formula depends on which channel is the greatest; weights of 0 and 1 are faster here than torch.where.
    by_red = (value == red).to(value.dtype)
    by_green = (value == green).to(value.dtype).mul_(1 - by_red)
    sixths = (red - green).mul_(scale).add_(4)
    sixths.lerp_((blue - red).mul_(scale).add_(2), by_green).lerp_((green - blue).mul_(scale), by_red)
    sixths.add_(6 * shift[:, None, None])
    sixths.sub_((sixths / 6).floor_(), alpha=6)  # now in [0, 6]
    # Only red lies where the circle closes; beyond 2 sixths the clip makes the way round the circle irrelevant.
    to_red, to_green, to_blue = (sixths - 3).abs_().neg_().add_(3), (sixths - 2).abs_(), (sixths - 4).abs_()
    away = torch.stack([to_red, to_green, to_blue], 1).sub_(1).clamp_(0, 1)
    return torch.addcmul(value[:, None], chroma[:, None], away, value=-1)


def jitter_(images: Tensor, factors: Tensor, shift: Tensor, blends: Tensor, groups: Sequence[Tensor]) -> Tensor:
    """All four operations in place, each sample in its own order.

    Args:
        images: changed in place.
        factors: (N, 3) for BRIGHTNESS, CONTRAST and SATURATION.
        shift: (N,) for the hue.
        blends: (N, 3), int64, the order of the three blends.
        groups: the samples whose hue is turned before the first, second and third blend, and after them; empty where
            no hue is turned.
    """
    for step in range(4):
        if groups:
            images[groups[step]] = turn_hue(images[groups[step]], shift[groups[step]])
        if step < 3:
            operation = blends[:, step]
            blend_(images, operation, factors.gather(1, operation[:, None])[:, 0])
    return images


def solarise(images: Tensor) -> Tensor:
    """Invert every value of at least 0.5."""
    return torch.where(images >= 0.5, 1 - images, images)
