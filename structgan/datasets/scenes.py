"""Scenes of the embedded digits, with masks and boxes that are known exactly.

A scene holds a few scans, each enlarged as in ``digits`` and in ink of its own colour, side by side at random places of
one smooth gradient. The mask of a scan is where its ink covers at least a given share of a pixel; its box is the tight
frame of its mask. Train and test scans differ as in ``digits``, so that an encoder that was trained on ``digits`` has
seen no scan of a test scene.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from structgan.datasets.annotated import Annotated
from structgan.datasets.digits import CONTRAST, SCANS, colours, interpolation, rounds
from structgan.errors import UserError

CLASSES = tuple("0123456789")
WHERE = "evaluation.dense.images.scenes"
TRIES = 1000
ROUNDING = 1e-9
"""Ink is a fraction of small whole numbers: what equals the threshold belongs to the mask however it was rounded."""


def build(settings: Mapping[str, Any]) -> tuple[Annotated, Annotated]:
    """Train and test scenes; a pure function of the settings.

    Args:
        settings: ``image_size`` and ``digit_size`` in pixels (the side of an enlarged scan), ``objects`` (fewest and
            most scans of a scene), ``ink`` (share of a pixel's ink from which it belongs to the mask), ``train_size``,
            ``test_size``, ``train_scans``, ``test_scans`` (ranges [first, end]) and ``seed``.

    Raises:
        UserError: the ranges of scans overlap or leave scikit-learn's, or so many scans find no place.
    """
    from sklearn.datasets import load_digits

    ranges = [tuple(settings[f"{split}_scans"]) for split in ("train", "test")]
    for split, (first, end) in zip(("train", "test"), ranges, strict=True):
        if not 0 <= first < end <= SCANS:
            allowed = f"a range [first, end] with 0 <= first < end <= {SCANS}"
            raise UserError(f"{WHERE}.{split}_scans is {[first, end]} (allowed: {allowed})")
    if max(first for first, _ in ranges) < min(end for _, end in ranges):
        raise UserError(f"{WHERE}: train_scans {list(ranges[0])} and test_scans {list(ranges[1])} overlap")
    if settings["objects"][0] > settings["objects"][1]:
        raise UserError(f"{WHERE}.objects is {list(settings['objects'])} (allowed: [fewest, most], fewest first)")
    scans = load_digits()
    return tuple(
        compose(
            scans.images[first:end] / 16.0,
            scans.target[first:end],
            settings[f"{split}_size"],
            settings,
            np.random.default_rng([settings["seed"], number]),
        )
        for number, (split, (first, end)) in enumerate(zip(("train", "test"), ranges, strict=True))
    )  # type: ignore[return-value]


def compose(
    scans: NDArray[np.float64],
    digits: NDArray[np.int64],
    count: int,
    settings: Mapping[str, Any],
    rng: np.random.Generator,
) -> Annotated:
    """Scenes of scans on gradients.

    Args:
        scans: (n, 8, 8) in [0, 1], 1 where the ink is. digits: (n,), what each shows.
        count: scenes.
        settings: as in ``build``.
        rng: draws scans, places, inks and gradients.
    """
    size, side, (fewest, most) = settings["image_size"], settings["digit_size"], settings["objects"]
    enlarge = interpolation(8, side)
    ground, _ = colours(count, size, rng)
    numbers = rng.integers(fewest, most + 1, count)
    chosen = iter(rounds(len(scans), int(numbers.sum()), rng))
    masks = np.zeros((count, size, size), np.uint8)
    boxes, labels, owners = [], [], []
    for image, (picture, mask, number) in enumerate(zip(ground, masks, numbers, strict=True)):
        for top, left in places(int(number), size, side, rng):
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


def places(number: int, size: int, side: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Top left corners of squares that do not overlap, drawn again until they don't. Shape: (number, 2).

    Raises:
        UserError: they find no room.
    """
    for _ in range(TRIES if side <= size else 0):
        corners = rng.integers(0, size - side + 1, (number, 2))
        apart = np.abs(corners[:, None] - corners[None]).max(2) >= side
        if apart[~np.eye(number, dtype=bool)].all():
            return corners
    raise UserError(
        f"{WHERE}: {number} scans of {side} pixels find no room side by side in {size} (objects, image_size)"
    )


def ink(picture: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """A colour (3,) with ``digits.CONTRAST`` to every pixel of a picture (3, H, W) in [0, 1].

    Where earlier inks leave no such colour, the one of several draws with the most contrast.
    """
    drawn = rng.random((TRIES // 20, 3))
    distance = np.sqrt(((picture[None] - drawn[:, :, None, None]) ** 2).sum(1)).min((1, 2))
    enough = np.flatnonzero(distance >= CONTRAST)
    best: NDArray[np.float64] = drawn[enough[0] if len(enough) else distance.argmax()]
    return best
