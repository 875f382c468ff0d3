"""Images with a mask and boxes each, for heads that answer at each place of a frozen encoder's maps."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from structgan.datasets.store import content_hash

IGNORED = 255
"""In a mask: of no class, such as the seam around an object; neither trained on nor scored."""


@dataclass(frozen=True)
class Annotated:
    """One split. Boxes are (left, top, right, bottom) in pixels, right and bottom exclusive, of all images in a row.

    Attributes:
        images: Shape: (N, 3, H, W), uint8.
        masks: Shape: (N, H, W), uint8: 0 background, k + 1 for class k, or ``IGNORED``.
        boxes: Shape: (M, 4), float32.
        labels: class of each box. Shape: (M,), int64.
        owners: the image that each box is in, in ascending order. Shape: (M,), int64.
        difficult: boxes that need not be found. Shape: (M,), bool.
    """

    images: Tensor
    masks: Tensor
    boxes: Tensor
    labels: Tensor
    owners: Tensor
    difficult: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def of(self, image: int) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes, labels and ``difficult`` of one image."""
        own = self.owners == image
        return self.boxes[own], self.labels[own], self.difficult[own]

    def digest(self) -> str:
        """SHA-256 over names, types, shapes and bytes of all tensors, in hexadecimal."""
        return content_hash(vars(self))
