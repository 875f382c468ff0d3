"""The other embedded data set: the same scans in black or white ink on gray pixel noise.

An image shows one 8×8 scan, enlarged to a random size, at a random place. On the gradients of ``digits`` two views of
an image share their smooth ground, which is enough for a contrastive loss; noise offers no such shortcut. Ink is black
or white with equal chance, so a linear classifier on raw pixels fails here too. Train and test use different scans.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from structgan.datasets.digits import CLASSES, interpolation, permutations, scans_of_splits
from structgan.datasets.store import Parts, Settings, Split
from structgan.errors import UserError

# fmt: off
DEFAULTS = {
    "image_size": 16, "train_size": 6000, "test_size": 2000, "train_scans": [500, 1797], "test_scans": [0, 500],
    "digit_size": [9, 14], "noise": 0.1, "seed": 0,
}
LIMITS = {
    "image_size": (16, 256), "train_size": (1, 1_000_000), "test_size": (1, 1_000_000), "train_scans": (0, 1797),
    "test_scans": (0, 1797), "digit_size": (8, 257), "noise": (0.0, 1.0), "seed": (0, 4294967295),
}
# fmt: on
__all__ = ["CLASSES", "DEFAULTS", "LIMITS", "build"]


def build(settings: Settings, raw: Path) -> Parts:
    """Compose the images, which depend on the settings only.

    Raises:
        UserError: train and test share scans, or the largest digit does not fit into an image.
    """
    where = f"data set '{settings['name']}'"
    first, end = settings["digit_size"]
    if not first < end <= settings["image_size"] + 1:
        allowed = f"[first, end] with 8 <= first < end <= {settings['image_size'] + 1}"
        raise UserError(f"{where}: digit_size is {[first, end]} (allowed: {allowed})")
    splits = []
    for split, scans, labels, rng in scans_of_splits(settings, where):
        chosen = permutations(len(scans), settings[f"{split}_size"], rng)
        images = compose(scans[chosen], settings, rng)
        splits.append(Split(torch.from_numpy(images), torch.from_numpy(labels[chosen])))
    return Parts(CLASSES, splits[0], splits[1], note="scikit-learn digits on noise, composed")


def compose(scans: NDArray[np.float64], settings: Settings, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Paste scans (N, 8, 8) with ink in [0, 1] on noise. Returns (N, 3, size, size), all channels alike."""
    size = settings["image_size"]
    ground = np.clip(0.5 + settings["noise"] * rng.standard_normal((len(scans), size, size)), 0.0, 1.0)
    first, end = settings["digit_size"]
    sides = rng.integers(first, end, len(scans))
    tops, lefts = rng.integers(0, size - sides + 1, (2, len(scans)))
    ink = rng.integers(0, 2, len(scans))
    enlarge = {side: interpolation(8, side) for side in range(first, end)}
    for image, scan, side, top, left, color in zip(ground, scans, sides, tops, lefts, ink, strict=True):
        glyph = enlarge[side] @ scan @ enlarge[side].T
        region = image[top : top + side, left : left + side]
        region += glyph * (color - region)
    return np.repeat(np.rint(ground * 255.0).astype(np.uint8)[:, None], 3, axis=1)
