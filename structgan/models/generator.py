"""The generator: BigGAN-deep's bottleneck blocks with conditional batch norm and spectral normalization everywhere.

As in the release of Zhang & Maire 2023 for 32x32: a linear layer of the latent w starts the 4x4 map and conditions
every batch norm. Each resolution has the same number of blocks, the last of which upsamples. 16 pixels take two
doublings, 32 three, 64 four; 96 start from a 6x6 map.

Unlike the release, convolutions inside blocks have no bias: the batch norm that follows each would cancel it.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from structgan import kernels
from structgan.models.batch_norm import GroupedBatchNorm
from structgan.models.spectral import cached_spectral_norm, spectrally_normalized
from structgan.precision import upsample, wide


class ConditionalBatchNorm(nn.Module):
    """Batch norm whose gain 1 + g and bias b are linear in a condition vector, then ReLU.

    Shape: (N, C, H, W) and (N, D) to (N, C, H, W).
    """

    def __init__(self, channels: int, condition: int, per_process: int | None) -> None:
        super().__init__()
        self.norm = GroupedBatchNorm(channels, per_process, affine=False)
        self.gain = nn.Linear(condition, channels, bias=False)
        self.bias = nn.Linear(condition, channels, bias=False)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        gain, bias = self.gain(condition), self.bias(condition)
        if self.training and isinstance(self.norm, GroupedBatchNorm) and kernels.fused(x):
            return self.norm.conditional_relu(x, gain, bias)
        return F.relu(torch.addcmul(bias[:, :, None, None], self.norm(x), 1 + gain[:, :, None, None]))


class BottleneckBlock(nn.Module):
    """1x1 - (upsample) - 3x3 - 3x3 - 1x1 with a shortcut (Brock et al. 2019, BigGAN-deep).

    Shape: (N, channels, H, W) to (N, channels, H * scale, W * scale).
    """

    def __init__(self, channels: int, hidden: int, condition: int, scale: int, per_process: int | None) -> None:
        super().__init__()
        self.scale = scale
        widths, kernels = (channels, hidden, hidden, hidden, channels), (1, 3, 3, 1)
        self.norms = nn.ModuleList(ConditionalBatchNorm(width, condition, per_process) for width in widths[:-1])
        self.convs = nn.ModuleList(
            nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
            for inputs, outputs, kernel in zip(widths, widths[1:], kernels, strict=False)
        )

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        y, size = x, (self.scale * x.shape[2], self.scale * x.shape[3])
        for index, (norm, conv) in enumerate(zip(self.norms, self.convs, strict=True)):
            y = norm(y, condition)
            y = conv(upsample(y, size) if index == 1 else y)
        return y + upsample(x, size)


class Generator(nn.Module):
    """G: latents w ~ N(0, I) to images; every convolution and linear layer starts Kaiming-normal, fan-out.

    Args:
        image_size: height and width in pixels, which halvings must bring to 4..7 without remainder.
        condition: length of the vector that starts the map and conditions the norms.
        channels, hidden: width of the map, and inside a bottleneck.
        blocks: bottleneck blocks at each resolution, the last of which upsamples.
        per_process: images whose batch-norm statistics are taken together; None: all of the batch.

    Shape: (N, latent) to (N, 3, image_size, image_size), values in [-1, 1].
    """

    def __init__(
        self,
        image_size: int,
        latent: int,
        condition: int,
        channels: int,
        hidden: int,
        blocks: int,
        per_process: int | None = None,
    ) -> None:
        super().__init__()
        doublings, start = 0, image_size
        while start >= 8:
            start, doublings = start // 2, doublings + 1
        if start * 2**doublings != image_size or start < 4:
            raise ValueError(f"no generator for {image_size} pixels: halving must reach 4 to 7 without remainder")
        self.start, self.latent = start, latent
        self.condition = nn.Linear(latent, condition)
        self.first = nn.Linear(condition, channels * start**2)
        scales = [*[1] * (blocks - 1), 2] * doublings
        self.blocks = nn.ModuleList(BottleneckBlock(channels, hidden, condition, s, per_process) for s in scales)
        self.last_norm = GroupedBatchNorm(channels, per_process)
        self.last = nn.Conv2d(channels, 3, 3, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        spectrally_normalized(self)

    def forward(self, latents: Tensor) -> Tensor:
        with cached_spectral_norm(self):
            condition = self.condition(latents)
            x = self.first(condition).unflatten(1, (-1, self.start, self.start))
            x = x.contiguous(memory_format=torch.channels_last)
            for block in self.blocks:
                x = block(x, condition)
            return torch.tanh(wide(self.last(F.relu(self.last_norm(x)))))


class ConditionalGenerator(nn.Module):
    """G with a class: its unit vector of length ``embedding`` extends the latent (Liu et al. 2020, arXiv 2006.10728).

    ``net`` are the other arguments of ``Generator``. Shape: latents (N, latent) and classes (N,) to (N, 3, image_size,
    image_size), values in [-1, 1].
    """

    frequency: Tensor

    def __init__(self, image_size: int, classes: int, embedding: int, latent: int, **net: Any) -> None:
        super().__init__()
        self.latent = latent
        self.embedding = nn.Embedding(classes, embedding)
        self.network = Generator(image_size, latent + embedding, **net)
        self.register_buffer("frequency", torch.ones(classes))  # of the classes in ``sample``

    def forward(self, latents: Tensor, classes: Tensor) -> Tensor:
        embedded = F.normalize(self.embedding(classes), dim=1)
        images: Tensor = self.network(torch.cat([latents, embedded], dim=1))
        return images

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """n images of classes drawn by ``frequency``. Shape: (n, 3, image_size, image_size), values in [-1, 1]."""
        classes = torch.multinomial(self.frequency, n, replacement=True, generator=generator)
        images: Tensor = self(torch.randn(n, self.latent, generator=generator, device=generator.device), classes)
        return images
