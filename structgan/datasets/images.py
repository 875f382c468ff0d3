"""Decode and resize images."""

import io

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from structgan.errors import UserError

MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX")
"""Pillow's modes that are converted to RGB. Gray of unknown range (16 or 32 bits, float) and others are refused."""
BACKGROUND = "white"


def decode(data: bytes, where: str, size: int, resize: bool, imagenet: bool = False) -> NDArray[np.uint8]:
    """Decode an image to RGB (3, size, size).

    It is turned upright, as its EXIF orientation says, and composited on ``BACKGROUND`` where it is transparent. All
    frames but the first are dropped.

    Args:
        data: the encoded image, in any format that Pillow reads.
        where: its name, for error messages.
        size: the wanted height and width in pixels.
        resize: resize an image of another size (its central square, bicubic with antialiasing) and do not refuse it.
        imagenet: convert as torchvision's loader does, for numbers that compare: nothing is turned, transparency is
            dropped, and CMYK, which some of ImageNet's images have, is converted without a color profile.

    Raises:
        UserError: the image is damaged or has another size or mode.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            modes = (*MODES, "CMYK") if imagenet else MODES
            if image.mode not in modes:
                raise UserError(f"{where}: image mode {image.mode} (allowed: {', '.join(modes)})")
            if image.size != (size, size) and not resize:
                found = f"{image.width}×{image.height}"
                raise UserError(f"{where}: image of {found} pixels, not {size}×{size} (or set resize: true)")
            rgb = image.convert("RGB") if imagenet else _upright(image)
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


def _upright(image: Image.Image) -> Image.Image:
    """An image in RGB, turned as its EXIF orientation says, on ``BACKGROUND`` where it is transparent."""
    turned = ImageOps.exif_transpose(image)
    if not turned.has_transparency_data:
        return turned.convert("RGB")
    opaque = Image.new("RGBA", turned.size, BACKGROUND)
    return Image.alpha_composite(opaque, turned.convert("RGBA")).convert("RGB")


def scale(images: Tensor, size: int) -> Tensor:
    """Resize square images (N, 3, H, H) uint8 to (N, 3, size, size) uint8, bicubic with antialiasing."""
    if images.shape[-1] == size:
        return images
    parts = []
    for batch in torch.split(images, 2000):
        scaled = F.interpolate(batch.float(), (size, size), mode="bicubic", antialias=True)
        parts.append(scaled.round_().clamp_(0, 255).to(torch.uint8))
    return torch.cat(parts)
