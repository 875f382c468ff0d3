"""From the bytes of one picture to a uint8 RGB array, or one line that names the picture."""

from __future__ import annotations

import io
from collections.abc import Collection
from typing import IO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from structgan.errors import UserError

MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX")
"""Modes of Pillow that are converted to RGB; grey of unknown range (16 bits, 32 bits, float) and others are refused."""
PRINTED = (*MODES, "CMYK")
"""With the mode of some of ImageNet's pictures, converted as torchvision's loader does, without a colour profile."""


def decode(
    data: bytes | IO[bytes], where: str, size: int, resize: bool, modes: Collection[str] = MODES
) -> NDArray[np.uint8]:
    """Decode one picture: transparency is dropped, as in torchvision's loader; an animation gives its first frame.

    Args:
        data: the encoded picture, in any format that Pillow reads.
        where: its name, for messages.
        size: height and width that are wanted, in pixels.
        resize: make another size fit (the central square, bicubic with antialias) instead of refusing it.
        modes: of Pillow, that are converted.

    Returns:
        (3, size, size) uint8.

    Raises:
        UserError: the picture is unreadable or truncated, of another size, or of a mode that is not converted.
    """
    try:
        with Image.open(io.BytesIO(data) if isinstance(data, bytes) else data) as image:
            if image.mode not in modes:
                raise UserError(f"{where}: image mode {image.mode} is not converted (allowed: {', '.join(modes)})")
            if image.size != (size, size) and not resize:
                found = f"{image.width}×{image.height}"
                raise UserError(
                    f"{where}: image of {found} pixels, not {size}×{size} (image_size; or set resize: true)"
                )
            rgb = image.convert("RGB")
    except UserError:
        raise
    except UnidentifiedImageError as error:
        raise UserError(f"{where}: unreadable or truncated image (no format that Pillow knows)") from error
    except Exception as error:  # a decoder fed with damaged bytes raises nearly anything
        raise UserError(f"{where}: unreadable or truncated image ({str(error) or type(error).__name__})") from error
    if rgb.size != (size, size):
        side = min(rgb.size)
        left, top = (rgb.width - side) // 2, (rgb.height - side) // 2
        rgb = rgb.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BICUBIC)
    return np.ascontiguousarray(np.asarray(rgb).transpose(2, 0, 1))


def scale(images: Tensor, size: int, batch: int = 2000) -> Tensor:
    """Resize square images (N, 3, H, H) uint8 to (N, 3, size, size) uint8, bicubic with antialias."""
    if images.shape[-1] == size:
        return images
    out = torch.empty(len(images), 3, size, size, dtype=torch.uint8)
    for start in range(0, len(images), batch):
        chunk = images[start : start + batch].float()
        chunk = torch.nn.functional.interpolate(chunk, (size, size), mode="bicubic", antialias=True)
        out[start : start + batch] = chunk.round_().clamp_(0, 255).to(torch.uint8)
    return out
