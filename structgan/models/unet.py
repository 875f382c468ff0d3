"""A U-Net with the backbone as its encoder: the network of a model that removes noise from images.

The backbone sees the image alone. The time enters every block of the decoder, together with the pooled feature, as a
scale and a shift of normalized maps. So the backbone is the same function of an image as in every other method, encodes
a clean image without a time, and its pooled feature takes part in every pixel. Ho et al. (2020) also condition the
encoder on the time and use attention at 16x16.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from structgan.models.discriminator import Backbone
from structgan.models.tangent import GroupNorm
from structgan.precision import upsample, wide


def sinusoids(times: Tensor, length: int) -> Tensor:
    """Sines and cosines with wavelengths from 2 pi to 10,000 * 2 pi (Ho et al. 2020). Shape: (N,) to (N, length)."""
    half = length // 2
    rates = torch.exp(torch.arange(half, device=times.device) * (-math.log(10000) / max(1, half - 1)))
    angles = times[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], 1)


class ConditionalBlock(nn.Module):
    """conv - GroupNorm - scale and shift by a condition - ELU - conv, plus a shortcut. Shape: (N, C, H, W), (N, D)."""

    def __init__(self, inputs: int, outputs: int, condition: int, channels_per_group: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm = GroupNorm(outputs // channels_per_group, outputs, affine=False)
        self.scale_shift = nn.Linear(condition, 2 * outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.scale_shift(condition)[:, :, None, None].chunk(2, dim=1)
        y = torch.addcmul(shift, self.norm(self.first(x)), 1 + scale)
        result: Tensor = self.shortcut(x) + self.second(F.elu(y))
        return result


class UNet(nn.Module):
    """Noisy images and their times to an output of the images' shape.

    Args:
        condition: length of the vector that the time and the pooled feature give, even.
        width, blocks, channels_per_group: of the backbone; the decoder has one block for each of its stages.

    Shape: (N, 3, image_size, image_size) and times (N,), whole numbers, to (N, 3, image_size, image_size).
    """

    def __init__(
        self, image_size: int, condition: int, width: int, blocks: Sequence[int], channels_per_group: int
    ) -> None:
        super().__init__()
        if condition % 2:
            raise ValueError(f"condition = {condition} must be even")
        self.backbone = Backbone(image_size, width, blocks, channels_per_group)
        self.time = nn.Sequential(nn.Linear(condition, condition), nn.ELU(), nn.Linear(condition, condition))
        self.pooled = nn.Linear(self.backbone.features, condition)
        widths = [width * 2**stage for stage in range(len(blocks))]
        self.middle = ConditionalBlock(widths[-1], widths[-1], condition, channels_per_group)
        skips = [3, *widths[:-1]]  # the image and all stages but the last
        self.ups = nn.ModuleList(
            ConditionalBlock(below + skip, max(skip, width), condition, channels_per_group)
            for below, skip in zip(reversed(widths), reversed(skips), strict=True)
        )
        self.norm = GroupNorm(width // channels_per_group, width)
        self.last = nn.Conv2d(width, 3, 3, padding=1)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)  # as Ho et al.: the first output is 0
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor, times: Tensor) -> Tensor:
        return self.up(self.down(images), times)

    def down(self, images: Tensor) -> list[Tensor]:
        """The image and the backbone's map after each stage, from the finest to the coarsest."""
        images = images.contiguous(memory_format=torch.channels_last)
        return [images, *self.backbone.feature_maps(images)]

    def up(self, maps: Sequence[Tensor], times: Tensor) -> Tensor:
        """The decoder. Shape: the maps of ``down`` and times (N,) to (N, 3, H, W)."""
        *skips, x = maps
        known = sinusoids(times, self.pooled.out_features).to(self.pooled.weight.dtype)
        condition = F.elu(self.time(known) + self.pooled(self.backbone.pool(x)))
        x = self.middle(x, condition)
        for block, skip in zip(self.ups, reversed(skips), strict=True):
            x = block(torch.cat([upsample(x, (skip.shape[2], skip.shape[3])), skip], dim=1), condition)
        return wide(self.last(F.elu(self.norm(x))))
