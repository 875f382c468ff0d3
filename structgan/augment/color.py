"""Color operations on a batch of float images in [0, 1], each sample with its own parameters, as torchvision has them.

Shapes: images (N, 3, H, W) float32 in [0, 1], parameters (N,) float32 on the same device. Images may take a gradient.
"""

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


def turn_hue_(images: Tensor, shift: Tensor) -> Tensor:
    """Turn the hue in place by ``shift`` of the whole circle, keeping HSV's saturation and value.

    The way through HSV and back is written without saturation: with value v and chroma c, a channel that lies d sixths
    of the circle from the hue is v - c·clip(d - 1, 0, 1).

    Args:
        images: changed in place.
        shift: (N,) in [-0.5, 0.5].
    """
    red, green, blue = images.unbind(1)
    kept = images.clone() if images.requires_grad else images  # the extremes' derivative reads what is overwritten here
    value, least = kept.amax(1), kept.amin(1)
    chroma = value - least
    scale = chroma.clamp(min=1e-12).reciprocal_()
    # The hue's formula depends on which channel is the largest; weights of 0 and 1 are faster here than torch.where.
    by_red = (value == red).to(value.dtype)
    by_green = (value == green).to(value.dtype).mul_(1 - by_red)
    sixths = (red - green).mul_(scale).add_(4)
    sixths.lerp_((blue - red).mul_(scale).add_(2), by_green).lerp_((green - blue).mul_(scale), by_red)
    sixths.add_(6 * shift[:, None, None])
    sixths.sub_((sixths / 6).floor_(), alpha=6)  # now in [0, 6]
    # Only red lies where the circle closes; beyond 2 sixths the clip makes the way round the circle irrelevant.
    to_red, to_green, to_blue = (sixths - 3).abs_().neg_().add_(3), (sixths - 2).abs_(), (sixths - 4).abs_()
    for channel, away in enumerate((to_red, to_green, to_blue)):
        images[:, channel] = torch.addcmul(value, chroma, away.sub_(1).clamp_(0, 1), value=-1)
    return images


def jitter_(images: Tensor, factors: Tensor, shift: Tensor, blends: Tensor, groups: list[int]) -> Tensor:
    """All four operations in place, each sample in its own order.

    Args:
        images: sorted by how many of the three blends come before the hue.
        factors: (N, 3) for BRIGHTNESS, CONTRAST and SATURATION.
        shift: (N,) for the hue.
        blends: (N, 3), int64, the order of the three blends.
        groups: how many samples have their hue turned before the first, second and third blend, and after them.
    """
    start = 0
    for step, samples in enumerate(groups):
        if samples:
            turn_hue_(images[start : start + samples], shift[start : start + samples])
        start += samples
        if step < 3:
            operation = blends[:, step]
            blend_(images, operation, factors.gather(1, operation[:, None])[:, 0])
    return images


def solarise(images: Tensor) -> Tensor:
    """Invert every value of at least 0.5."""
    return torch.where(images >= 0.5, 1 - images, images)
