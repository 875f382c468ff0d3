"""The discriminator: a ResNet whose pooled features are the representation, and a projection to the embedding.

ResNet-18 shape with a CIFAR stem (3x3, stride 1, no max-pool), as in the release of Zhang & Maire 2023: blocks are
conv-ELU-conv-GroupNorm, so that only the second convolution and the shortcut are normalized; stride is 2x2 average
pooling before the convolution and in the shortcut; no convolution has a bias, and each starts Kaiming-normal, fan-out.
Every layer carries values and tangents, as ``structgan.models.tangent`` has them.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from structgan.models.spectral import cached_spectral_norm
from structgan.models.tangent import (
    ELU,
    AvgPool2d,
    Conv2d,
    GlobalAvgPool,
    GroupNorm,
    Linear,
    Saved,
    Signal,
    Sum,
    Tangent,
    Traced,
)
from structgan.precision import exact


class ResidualBlock(nn.Module):
    """conv-ELU-conv-GroupNorm plus a shortcut, then ELU.

    Shape: (N, inputs, H, W) to (N, outputs, H/stride, W/stride), for values and tangents.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, channels_per_group: int) -> None:
        super().__init__()
        pool: list[nn.Module] = [AvgPool2d(stride)] if stride > 1 else []
        groups = outputs // channels_per_group
        self.body = nn.Sequential(
            *pool,
            Conv2d(inputs, outputs, 3, padding=1, bias=False),
            ELU(),
            Conv2d(outputs, outputs, 3, padding=1, bias=False),
            GroupNorm(groups, outputs),
        )
        change = stride > 1 or inputs != outputs
        shortcut = [*pool, Conv2d(inputs, outputs, 1, bias=False), GroupNorm(groups, outputs)] if change else []
        self.shortcut = nn.Sequential(*shortcut)
        self.sum = Sum()
        self.activation = ELU()

    def forward(self, x: Signal) -> Signal:
        return self.activation(self.sum(self.body(x), self.shortcut(x)))  # type: ignore[no-any-return]


class Backbone(nn.Module):
    """E: images to pooled features h.

    Stage i has ``width * 2**i`` channels and ``blocks[i]`` blocks; every stage but the first halves the resolution.
    Above 32 pixels the stem's map is pooled by 2 (64 and 96 pixels) or 4 (128), so that the first stage sees 32 to 48
    pixels.

    Shape: (N, 3, H, W) with values in [-1, 1] to (N, ``features``), for values and tangents.

    Raises:
        ValueError: ``width`` does not divide into groups, or the image is too small for so many stages.
    """

    def __init__(self, image_size: int, width: int, blocks: Sequence[int], channels_per_group: int) -> None:
        super().__init__()
        if width % channels_per_group:
            raise ValueError(f"width = {width} must be a multiple of channels_per_group = {channels_per_group}")
        stem_pool = 1 if image_size <= 48 else 2 if image_size <= 96 else 4
        if image_size // stem_pool < 2 ** (len(blocks) - 1):
            raise ValueError(f"blocks = {list(blocks)}: {image_size} pixels cannot be halved {len(blocks) - 1} times")
        self.stem = nn.Sequential(
            Conv2d(3, width, 3, padding=1, bias=False),
            ELU(),
            *([AvgPool2d(stem_pool)] if stem_pool > 1 else []),
        )
        layers: list[nn.Module] = []
        inputs = width
        for stage, count in enumerate(blocks):
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                layers.append(ResidualBlock(inputs, width * 2**stage, stride, channels_per_group))
                inputs = width * 2**stage
        self.layers = nn.Sequential(*layers)
        self.blocks = tuple(blocks)
        self.pool = GlobalAvgPool()
        self.features = inputs
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Signal) -> Signal:
        if isinstance(images, Tensor):
            images = images.contiguous(memory_format=torch.channels_last)
        else:
            images = replace(images, tensor=images.tensor.contiguous(memory_format=torch.channels_last))
        return self.pool(self.layers(self.stem(images)))  # type: ignore[no-any-return]

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        """The last map of each stage; the mean of the last one over its places is ``forward``'s result.

        Shape: (N, 3, H, W) with values in [-1, 1], H and W of at least a pixel in the last stage, to (N, width * 2**i,
        H/2**i, W/2**i) for stage i, where the stem does not pool.
        """
        found, x, ends = [], self.stem(images), set(itertools.accumulate(self.blocks))
        for number, layer in enumerate(self.layers, start=1):
            x = layer(x)
            if number in ends:
                found.append(x)
        return found


class Discriminator(nn.Module):
    """P(E(x)): images to features h and embedding e; P = Linear-ELU-Linear.

    Shape: (N, 3, H, W) with values in [-1, 1] to h (N, features) and e (N, ``embedding``), not normalized.
    """

    def __init__(
        self,
        image_size: int,
        width: int,
        blocks: Sequence[int],
        channels_per_group: int,
        hidden: int,
        embedding: int,
    ) -> None:
        super().__init__()
        self.backbone = Backbone(image_size, width, blocks, channels_per_group)
        self.projection = nn.Sequential(Linear(self.backbone.features, hidden), ELU(), Linear(hidden, embedding))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        with cached_spectral_norm(self):
            features = self.backbone(images)
            return features, exact(self.projection)(features)

    def trace(self, images: Tensor) -> tuple[Tensor, list[Saved]]:
        """e, and the tape for ``derivative``. Shape: (N, 3, H, W) to (N, C)."""
        traced = self.backbone(Traced(images, []))
        with torch.autocast(images.device.type, enabled=False):
            traced = self.projection(traced)
        return traced.tensor, traced.tape

    def derivative(self, direction: Tensor, tape: list[Saved]) -> Tensor:
        """J v at the images of a tape. Shape: v (N, 3, H, W) to (N, C)."""
        tangent = self.backbone(Tangent(direction, iter(tape)))
        with torch.autocast(direction.device.type, enabled=False):
            moved: Tensor = self.projection(tangent).tensor
        return moved
