"""Scenes of several embedded digits on a gradient, with exact masks and boxes.

Each scan has its own color and does not overlap another one. Its mask is where its ink covers at least a given share of
a pixel; its box is the tight frame of the mask. Test scenes show scans that an encoder trained on ``digits`` never saw.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from structgan.datasets.annotated import Annotated
from structgan.datasets.digits import CLASSES, CONTRAST, colors, interpolation, permutations, scans_of_splits
from structgan.errors import UserError

__all__ = ["CLASSES", "build"]
WHERE = "evaluation.dense.images.scenes"
TRIES = 1000
ROUNDING = 1e-9
"""Ink is a ratio of small integers: a pixel exactly at the threshold belongs to the mask despite rounding."""


def build(settings: Mapping[str, Any]) -> tuple[Annotated, Annotated]:
    """Train and test scenes, which depend on the settings only.

    Args:
        settings: ``image_size`` and ``digit_size`` in pixels; ``objects``, the fewest and the most scans of a scene;
            ``ink``, the share of ink from which a pixel is in the mask; ``train_size``, ``test_size``, ``train_scans``,
            ``test_scans`` and ``seed`` as in ``digits``.

    Raises:
        UserError: train and test share scans, or the scans do not fit into a scene.
    """
    fewest, most = settings["objects"]
    if fewest > most:
        raise UserError(f"{WHERE}.objects is {[fewest, most]} (allowed: [fewest, most], fewest first)")
    train, test = (compose(*split, settings) for split in scans_of_splits(settings, WHERE))
    return train, test


def compose(
    split: str,
    scans: NDArray[np.float64],
    digits: NDArray[np.int64],
    rng: np.random.Generator,
    settings: Mapping[str, Any],
) -> Annotated:
    """The scenes of a split from scans (N, 8, 8) with ink in [0, 1] and their labels (N,)."""
    size, side, (fewest, most) = settings["image_size"], settings["digit_size"], settings["objects"]
    count = settings[f"{split}_size"]
    enlarge = interpolation(8, side)
    ground, _ = colors(count, size, rng)
    numbers = rng.integers(fewest, most + 1, count)
    chosen = iter(permutations(len(scans), int(numbers.sum()), rng))
    masks = np.zeros((count, size, size), np.uint8)
    boxes, labels, owners = [], [], []
    for image, (picture, mask, number) in enumerate(zip(ground, masks, numbers, strict=True)):
        for top, left in corners(int(number), size, side, rng):
            scan = next(chosen)
            glyph = enlarge @ scans[scan] @ enlarge.T
            region = np.s_[top : top + side, left : left + side]
            picture[:, *region] += glyph * (ink(picture, rng)[:, None, None] - picture[:, *region])
            covered = glyph >= settings["ink"] - ROUNDING
            if not covered.any():
                raise UserError(f"{WHERE}.ink is {settings['ink']}: no pixel of scan {scan} has so much ink")
            mask[region][covered] = digits[scan] + 1
            rows, columns = np.flatnonzero(covered.any(1)), np.flatnonzero(covered.any(0))
            boxes.append((left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1))
            labels.append(int(digits[scan]))
            owners.append(image)
    return Annotated(
        images=torch.from_numpy(np.rint(ground * 255.0).astype(np.uint8)),
        masks=torch.from_numpy(masks),
        boxes=torch.tensor(np.array(boxes), dtype=torch.float32),
        labels=torch.tensor(labels),
        owners=torch.tensor(owners),
        difficult=torch.zeros(len(labels), dtype=torch.bool),
    )


def corners(number: int, size: int, side: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Top left corners of squares that do not overlap. Shape: (number, 2).

    Raises:
        UserError: ``TRIES`` draws overlapped.
    """
    for _ in range(TRIES if side <= size else 0):
        drawn = rng.integers(0, size - side + 1, (number, 2))
        apart = np.abs(drawn[:, None] - drawn[None]).max(2) >= side
        if apart[~np.eye(number, dtype=bool)].all():
            return drawn
    raise UserError(f"{WHERE}: {number} scans of {side} pixels do not fit in {size} (objects, digit_size, image_size)")


def ink(picture: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """The first of several random colors with ``CONTRAST`` to every pixel of a picture (3, H, W), or the best one."""
    drawn = rng.random((TRIES // 20, 3))
    distance = np.sqrt(((picture[None] - drawn[:, :, None, None]) ** 2).sum(1)).min((1, 2))
    enough = np.flatnonzero(distance >= CONTRAST)
    best: NDArray[np.float64] = drawn[enough[0] if len(enough) else distance.argmax()]
    return best
