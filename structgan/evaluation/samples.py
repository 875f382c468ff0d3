"""Images drawn from a method's generator, and the grid of them that a person looks at."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from structgan import files
from structgan.errors import UserError

GRID = 8
MARGIN = 2


class Samples(Protocol):
    """What a method that generates offers."""

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Shape: (n, 3, H, W), values in [-1, 1]."""


def to_uint8(images: Tensor) -> Tensor:
    """[-1, 1] → 0..255, rounded to nearest and clamped: the inverse of x / 127.5 − 1. Any shape.

    Raises:
        UserError: a value is NaN or infinite.
    """
    if not bool(torch.isfinite(images).all()):
        raise UserError("the generator's images hold NaN or infinity: its training has diverged")
    return ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


@torch.no_grad()
def draw(method: Samples, n: int, seed: int, batch_size: int, device: str = "cpu") -> Tensor:
    """n images as uint8 from latents of a fixed seed, ``batch_size`` at a time. Shape: (n, 3, H, W), on the CPU."""
    generator = torch.Generator(device).manual_seed(seed)
    sizes = [min(batch_size, n - first) for first in range(0, n, batch_size)]
    return torch.cat([to_uint8(method.sample(size, generator)).cpu() for size in sizes])


def grid(images: Tensor, columns: int = GRID) -> Tensor:
    """Images side by side on white. Shape: (N, 3, H, W) uint8 → (3, rows·(H+2)+2, columns·(W+2)+2) uint8."""
    n, _, height, width = images.shape
    rows = -(-n // columns)
    sheet = torch.full(
        (3, rows * (height + MARGIN) + MARGIN, columns * (width + MARGIN) + MARGIN), 255, dtype=torch.uint8
    )
    for index, image in enumerate(images):
        top = MARGIN + (index // columns) * (height + MARGIN)
        left = MARGIN + (index % columns) * (width + MARGIN)
        sheet[:, top : top + height, left : left + width] = image
    return sheet


def write_grid(images: Tensor, path: str | Path) -> None:
    """Write the grid as PNG, atomically; small images are enlarged by a whole number, without smoothing."""
    from PIL import Image

    sheet = Image.fromarray(grid(images).permute(1, 2, 0).contiguous().numpy())
    scale = max(1, 512 // sheet.width)
    with files.replacing(path) as temporary:
        sheet.resize((sheet.width * scale, sheet.height * scale), Image.Resampling.NEAREST).save(temporary, "PNG")
