"""The discriminator: a ResNet whose pooled features are the representation, and a projection to the embedding.

ResNet-18's shape with a CIFAR stem (3x3, stride 1, no max-pool), as in the release of Zhang & Maire 2023. Blocks are
conv-ELU-conv-GroupNorm, so that only the second convolution and the shortcut are normalized. A stride is average
pooling, before the convolution and in the shortcut. Convolutions have no bias and start Kaiming-normal, fan-out.
Every layer carries values and tangents, see ``structgan.models.tangent``.
"""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from structgan.models import tangent
from structgan.models.spectral import cached_spectral_norm
from structgan.models.tangent import ELU, AvgPool2d, Conv2d, GroupNorm, Linear, Saved, Signal, Tangent, Traced
from structgan.precision import exact


class ResidualBlock(nn.Module):
    """conv-ELU-conv-GroupNorm plus a shortcut, then ELU.

    Shape: (N, inputs, H, W) to (N, outputs, H/stride, W/stride), for values and tangents.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, channels_per_group: int) -> None:
        super().__init__()
        pool: list[nn.Module] = [AvgPool2d(stride)] if stride > 1 else []
        groups = outputs // channels_per_group
        first = Conv2d(inputs, outputs, 3, padding=1, bias=False)
        second = Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.body = nn.Sequential(*pool, first, ELU(), second, GroupNorm(groups, outputs))
        change = stride > 1 or inputs != outputs
        shortcut = [*pool, Conv2d(inputs, outputs, 1, bias=False), GroupNorm(groups, outputs)] if change else []
        self.shortcut = nn.Sequential(*shortcut)
        self.activation = ELU()

    def forward(self, x: Signal) -> Any:
        if not tangent.fused(x):
            return self.activation(tangent.add(self.body(x), self.shortcut(x)))
        *layers, norm = self.body
        y = x
        for layer in layers:
            y = layer(y)
        return norm.joined(y, self.shortcut(x), elu=True)  # type: ignore[operator]


class Backbone(nn.Module):
    """E: images to pooled features h.

    Stage i has ``width * 2**i`` channels and ``blocks[i]`` blocks; every stage but the first halves the resolution.
    Above 48 pixels the stem's map is pooled by 2, above 96 by 4.

    Shape: (N, 3, H, W) with values in [-1, 1] to (N, ``features``), for values and tangents.

    Raises:
        ValueError: ``width`` does not divide into groups, or the image is too small for so many stages.
    """

    def __init__(self, image_size: int, width: int, blocks: Sequence[int], channels_per_group: int) -> None:
        super().__init__()
        if width % channels_per_group:
            raise ValueError(f"width = {width} must be a multiple of channels_per_group = {channels_per_group}")
        pool = 1 if image_size <= 48 else 2 if image_size <= 96 else 4
        if image_size // pool < 2 ** (len(blocks) - 1):
            raise ValueError(f"blocks = {list(blocks)}: {image_size} pixels cannot be halved {len(blocks) - 1} times")
        self.stem = nn.Sequential(Conv2d(3, width, 3, padding=1, bias=False), ELU())
        if pool > 1:
            self.stem.append(AvgPool2d(pool))
        self.blocks, self.features, self.layers = tuple(blocks), width, nn.Sequential()
        for stage, count in enumerate(blocks):
            for block in range(count):
                stride, outputs = 2 if stage > 0 and block == 0 else 1, width * 2**stage
                self.layers.append(ResidualBlock(self.features, outputs, stride, channels_per_group))
                self.features = outputs
        self.pool = tangent.GlobalAvgPool()
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Signal) -> Any:
        if isinstance(images, Tensor):
            images = images.contiguous(memory_format=torch.channels_last)
        else:
            images = replace(images, tensor=images.tensor.contiguous(memory_format=torch.channels_last))
        return self.pool(self.layers(self.stem(images)))

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        """The last map of each stage; the mean of the last one over its places is ``forward``'s result.

        Shape: (N, 3, H, W), values in [-1, 1], to (N, width * 2**i, H/2**i, W/2**i) for stage i, where no stem pools.
        """
        maps, x, layers = [], self.stem(images), iter(self.layers)
        for count in self.blocks:
            for layer in itertools.islice(layers, count):
                x = layer(x)
            maps.append(x)
        return maps


class Discriminator(nn.Module):
    """P(E(x)): images to features h and embedding e; P = Linear-ELU-Linear.

    Shape: (N, 3, H, W) with values in [-1, 1] to h (N, features) and e (N, ``embedding``), not normalized.
    """

    def __init__(self, image_size: int, *, hidden: int, embedding: int, **backbone: Any) -> None:
        super().__init__()
        self.backbone = Backbone(image_size, **backbone)
        self.projection = nn.Sequential(Linear(self.backbone.features, hidden), ELU(), Linear(hidden, embedding))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        with cached_spectral_norm(self):
            features = self.backbone(images)
            return features, exact(self.projection)(features)

    def trace(self, images: Tensor) -> tuple[Tensor, list[Saved]]:
        """e, and the tape for ``derivative``. Shape: (N, 3, H, W) to (N, C)."""
        tape: list[Saved] = []
        return self._embed(Traced(images, tape)), tape

    def derivative(self, direction: Tensor, tape: list[Saved]) -> Tensor:
        """J v at the images of a tape. Shape: v (N, 3, H, W) to (N, C)."""
        return self._embed(Tangent(direction, iter(tape)))

    def _embed(self, signal: Traced | Tangent) -> Tensor:
        signal = self.backbone(signal)
        with torch.autocast(signal.tensor.device.type, enabled=False):
            embedding: Tensor = self.projection(signal).tensor
        return embedding
