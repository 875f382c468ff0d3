"""Images with masks and boxes, for segmentation and detection."""

from dataclasses import dataclass

from torch import Tensor

from structgan.datasets.store import content_hash

IGNORED = 255
"""Mask value of pixels without a class, such as an object's outline: neither trained on nor scored."""


@dataclass(frozen=True)
class Annotated:
    """One split. The boxes of all images are in one tensor.

    Attributes:
        images: (N, 3, H, W) uint8.
        masks: (N, H, W) uint8: 0 is background, k + 1 is class k, 255 is ``IGNORED``.
        boxes: left, top, right, bottom in pixels, the last two exclusive. (M, 4) float32.
        labels: class of each box. (M,) int64.
        owners: index of each box's image, ascending. (M,) int64.
        difficult: boxes that a detector may miss. (M,) bool.
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
        """The content hash of all tensors."""
        return content_hash(vars(self))
