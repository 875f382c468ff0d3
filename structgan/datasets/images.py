"""Decode and resize images."""

import io
from collections.abc import Collection

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from structgan.errors import UserError

MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX")
"""Pillow's modes that are converted to RGB. Gray of unknown range (16 or 32 bits, float) and others are refused."""
IMAGENET_MODES = (*MODES, "CMYK")
"""ImageNet has some CMYK images. They are converted without a color profile, as torchvision's loader does."""


def decode(data: bytes, where: str, size: int, resize: bool, modes: Collection[str] = MODES) -> NDArray[np.uint8]:
    """Decode an image to RGB (3, size, size). Transparency and all frames but the first are dropped, as in torchvision.

    Args:
        data: the encoded image, in any format that Pillow reads.
        where: its name, for error messages.
        size: the wanted height and width in pixels.
        resize: resize an image of another size (its central square, bicubic with antialiasing) and do not refuse it.
        modes: Pillow's modes that are accepted.

    Raises:
        UserError: the image is damaged or has another size or mode.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.mode not in modes:
                raise UserError(f"{where}: image mode {image.mode} (allowed: {', '.join(modes)})")
            if image.size != (size, size) and not resize:
                found = f"{image.width}×{image.height}"
                raise UserError(f"{where}: image of {found} pixels, not {size}×{size} (or set resize: true)")
            rgb = image.convert("RGB")
    except UserError:
        raise
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged bytes
        reason = "unknown format" if isinstance(error, UnidentifiedImageError) else repr(error)
        raise UserError(f"{where}: unreadable or truncated image ({reason})") from error
    if rgb.size != (size, size):
        side = min(rgb.size)
        left, top = (rgb.width - side) // 2, (rgb.height - side) // 2
        rgb = rgb.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BICUBIC)
    return np.ascontiguousarray(np.asarray(rgb).transpose(2, 0, 1))


def scale(images: Tensor, size: int) -> Tensor:
    """Resize square images (N, 3, H, H) uint8 to (N, 3, size, size) uint8, bicubic with antialiasing."""
    if images.shape[-1] == size:
        return images
    parts = []
    for batch in torch.split(images, 2000):
        scaled = F.interpolate(batch.float(), (size, size), mode="bicubic", antialias=True)
        parts.append(scaled.round_().clamp_(0, 255).to(torch.uint8))
    return torch.cat(parts)
