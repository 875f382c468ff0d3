"""Images drawn from a method's generator, and a picture of them for people."""

from pathlib import Path
from typing import Protocol

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad
from torchvision.utils import make_grid

from structgan import files
from structgan.errors import UserError

GRID = 8
"""Images in a row of the grid, and rows of a run's samples."""
GAP = 6
"""White pixels between real and generated images."""


class Sampler(Protocol):
    """A method that generates."""

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
def draw(method: Sampler, n: int, seed: int, batch_size: int, device: str = "cpu") -> Tensor:
    """n images as uint8 from latents of a fixed seed, ``batch_size`` at a time. Shape: (n, 3, H, W), on the CPU."""
    generator = torch.Generator(device).manual_seed(seed)
    sizes = [min(batch_size, n - first) for first in range(0, n, batch_size)]
    return torch.cat([to_uint8(method.sample(size, generator)).cpu() for size in sizes])


def write_grid(images: Tensor, path: str | Path, real: Tensor | None = None) -> None:
    """Write images side by side as PNG, atomically; small ones are enlarged by a whole number, without smoothing.

    ``real``, if given: ``GRID`` images, a row of their own above them.
    """
    grid = make_grid(images, GRID, pad_value=255)
    if real is not None:
        grid = torch.cat([pad(make_grid(real, GRID, pad_value=255), (0, 0, 0, GAP), value=255), grid], 1)
    sheet = Image.fromarray(grid.permute(1, 2, 0).contiguous().numpy())
    scale = max(1, 512 // sheet.width)
    with files.replacing(path) as temporary:
        sheet.resize((sheet.width * scale, sheet.height * scale), Image.Resampling.NEAREST).save(temporary, "PNG")
