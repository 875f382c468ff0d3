"""The structural GAN's networks transcribed from the paper and its release, in PyTorch's own layers and nothing else.

``benchmarks.reference_step`` has the step over them, and says what they are for.
"""

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SN_EPSILON = 1e-6


class Block(nn.Module):
    """conv-ELU-conv-GroupNorm plus a shortcut, then ELU; no biases. Shape: (N, I, H, W) to (N, O, H/s, W/s)."""

    def __init__(self, inputs: int, outputs: int, stride: int, groups: int) -> None:
        super().__init__()
        self.stride, self.changes = stride, stride > 1 or inputs != outputs
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm = nn.GroupNorm(groups, outputs)
        if self.changes:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, bias=False)
            self.shortcut_norm = nn.GroupNorm(groups, outputs)

    def forward(self, x: Tensor) -> Tensor:
        if self.stride > 1:
            x = F.avg_pool2d(x, self.stride)
        y = self.norm(self.conv2(F.elu(self.conv1(x))))
        if self.changes:
            x = self.shortcut_norm(self.shortcut(x))
        return F.elu(y + x)


class Discriminator(nn.Module):
    """h = E(x) and e = P(h). Shape: (N, 3, H, W), values in [-1, 1], to (N, 8 width) and (N, embedding)."""

    def __init__(self, width: int, blocks: Sequence[int], channels_per_group: int, hidden: int, embedding: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.blocks = nn.ModuleList()
        inputs = width
        for stage, count in enumerate(blocks):
            outputs = width * 2**stage
            for index in range(count):
                stride = 2 if stage > 0 and index == 0 else 1
                self.blocks.append(Block(inputs, outputs, stride, outputs // channels_per_group))
                inputs = outputs
        self.hidden, self.out = nn.Linear(inputs, hidden), nn.Linear(hidden, embedding)

    def features(self, images: Tensor) -> Tensor:
        x = F.elu(self.stem(images))
        if images.shape[-1] > 48:  # the paper has 32 pixels only; see ``structgan.models.discriminator``
            x = F.avg_pool2d(x, 4 if images.shape[-1] > 96 else 2)
        for block in self.blocks:
            x = block(x)
        return x.mean((2, 3))

    def forward(self, images: Tensor) -> Tensor:
        embeddings: Tensor = self.out(F.elu(self.hidden(self.features(images))))
        return embeddings


class Spectral(nn.Module):
    """A convolution or a linear layer whose weight is divided by u^T W v, after one power iteration from u."""

    u: Tensor

    def __init__(self, layer: nn.Conv2d | nn.Linear) -> None:
        super().__init__()
        self.layer = layer
        self.register_buffer("u", torch.randn(len(layer.weight)))

    def forward(self, x: Tensor) -> Tensor:
        matrix = self.layer.weight.reshape(len(self.layer.weight), -1)
        with torch.no_grad():
            v = F.normalize(matrix.T @ self.u, dim=0, eps=SN_EPSILON)
            u = F.normalize(matrix @ v, dim=0, eps=SN_EPSILON)
            self.u = u
        weight = self.layer.weight / (u @ matrix @ v)
        if isinstance(self.layer, nn.Conv2d):
            return F.conv2d(x, weight, self.layer.bias, padding=self.layer.padding)
        return F.linear(x, weight, self.layer.bias)


def batch_norm(x: Tensor, images: int, weight: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
    """Batch norm as each process computes it over its own ``images`` images. Shape: (N, C, H, W)."""
    return torch.cat([F.batch_norm(part, None, None, weight, bias, training=True) for part in torch.split(x, images)])


class GeneratorBlock(nn.Module):
    """Bottleneck of BigGAN-deep: BN-ReLU-conv, four times, upsampled before the second convolution, plus a shortcut."""

    def __init__(self, channels: int, hidden: int, condition: int, upsample: bool) -> None:
        super().__init__()
        self.upsample = upsample
        widths = (channels, hidden, hidden, hidden)
        self.gains = nn.ModuleList(Spectral(nn.Linear(condition, width, bias=False)) for width in widths)
        self.biases = nn.ModuleList(Spectral(nn.Linear(condition, width, bias=False)) for width in widths)
        shapes = ((channels, hidden, 1), (hidden, hidden, 3), (hidden, hidden, 3), (hidden, channels, 1))
        self.convs = nn.ModuleList(Spectral(nn.Conv2d(i, o, k, padding=k // 2, bias=False)) for i, o, k in shapes)

    def forward(self, x: Tensor, condition: Tensor, images: int) -> Tensor:
        y = x
        for index, (gain, bias, conv) in enumerate(zip(self.gains, self.biases, self.convs, strict=True)):
            y = batch_norm(y, images) * (1 + gain(condition))[:, :, None, None] + bias(condition)[:, :, None, None]
            y = F.relu(y)
            if index == 1 and self.upsample:
                y, x = F.interpolate(y, scale_factor=2), F.interpolate(x, scale_factor=2)
            y = conv(y)
        return x + y


class Generator(nn.Module):
    """G(w): the last of the ``blocks`` of each resolution upsamples. Shape: (N, latent) to (N, 3, H, W) in [-1, 1]."""

    def __init__(self, image_size: int, latent: int, condition: int, channels: int, hidden: int, blocks: int) -> None:
        super().__init__()
        doublings = int(math.log2(image_size // 4))
        self.start = image_size // 2**doublings
        self.condition = Spectral(nn.Linear(latent, condition))
        self.first = Spectral(nn.Linear(condition, channels * self.start**2))
        self.blocks = nn.ModuleList(
            GeneratorBlock(channels, hidden, condition, upsample=index == blocks - 1)
            for _ in range(doublings)
            for index in range(blocks)
        )
        self.norm_weight = nn.Parameter(torch.ones(channels))
        self.norm_bias = nn.Parameter(torch.zeros(channels))
        self.last = Spectral(nn.Conv2d(channels, 3, 3, padding=1))

    def forward(self, latents: Tensor, images: int) -> Tensor:
        """``images``: how many of the batch one process has."""
        condition = self.condition(latents)
        x = self.first(condition).reshape(len(latents), -1, self.start, self.start)
        for block in self.blocks:
            x = block(x, condition, images)
        return torch.tanh(self.last(F.relu(batch_norm(x, images, self.norm_weight, self.norm_bias))))


@torch.no_grad()
def copy_parameters(source: nn.Module, target: nn.Module) -> None:
    """Copy parameters in the order in which both networks declare them; their shapes must be equal."""
    for mine, theirs in zip(target.parameters(), source.parameters(), strict=True):
        if mine.shape != theirs.shape:
            raise ValueError(f"a parameter of shape {tuple(theirs.shape)} where {tuple(mine.shape)} is expected")
        mine.copy_(theirs)


def suite_name(name: str) -> str:
    """What the suite's generator calls a parameter or buffer of this one."""
    name = name.replace("norm_weight", "last_norm.weight").replace("norm_bias", "last_norm.bias")
    name = name.replace("layer.weight", "parametrizations.weight.original").replace("layer.bias", "bias")
    name = f"{name[:-2]}.parametrizations.weight.0.u" if name.endswith(".u") else name
    parts = name.split(".")
    if "gains" in parts or "biases" in parts:
        kind, index = parts[2:4]
        parts[2:4] = ["norms", index, "gain" if kind == "gains" else "bias"]
    return ".".join(parts)


def copy_generator(source: Mapping[str, Tensor], target: Generator) -> None:
    """Copy the suite's weights and vectors of spectral norms; batch norms' running statistics have no part in a step.

    Raises:
        ValueError: the suite's generator has parameters that this one lacks.
    """
    names = {name: suite_name(name) for name in target.state_dict()}
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    if extra := {name for name in source if not name.endswith(statistics)} - set(names.values()):
        raise ValueError(f"unknown parameters of a generator: {', '.join(sorted(extra))}")
    target.load_state_dict({mine: source[theirs] for mine, theirs in names.items()})
