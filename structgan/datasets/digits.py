"""The embedded data set: scikit-learn's 1,797 real scans of handwritten digits, pasted on coloured gradients.

Each composite is one 8×8 scan, enlarged to three quarters of the image, in ink of a random colour at a random place on
a smooth random gradient. Colours say nothing of the class, so raw pixels are useless to a linear classifier while the
shape is easy for a person: what a feature learner must find is the shape. Train and test use different scans.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from structgan.datasets.options import integer, span
from structgan.datasets.store import Parts, Split
from structgan.errors import UserError

DEFAULTS: dict[str, dict[str, Any]] = {
    "digits": {
        "image_size": 16,
        "train_size": 6000,
        "test_size": 2000,
        "train_scans": [500, 1797],
        "test_scans": [0, 500],
        "seed": 0,
    }
}
SCANS = 1797
SIZES = (16, 32)
CONTRAST = 0.5
"""Least distance in RGB (each channel in [0, 1]) between the ink and every pixel of the background."""


def build(settings: Mapping[str, Any], raw: Path) -> Parts:
    """Compose the data set; a pure function of the settings (``raw`` is not used: the scans come with scikit-learn).

    Raises:
        UserError: a setting is out of range, or the two ranges of scans overlap.
    """
    from sklearn.datasets import load_digits

    size, name = settings["image_size"], settings["name"]
    if size not in SIZES:
        raise UserError(f"data set '{name}': image_size is {size!r} (allowed: {', '.join(map(str, SIZES))})")
    ranges = [span(settings, f"{split}_scans", 0, SCANS) for split in ("train", "test")]
    if max(first for first, _ in ranges) < min(end for _, end in ranges):
        raise UserError(f"data set '{name}': train_scans {ranges[0]} and test_scans {ranges[1]} overlap")
    scans = load_digits()
    seed = integer(settings, "seed", 0, 2**32 - 1)
    splits = []
    for number, (first, end) in enumerate(ranges):
        count = integer(settings, ("train_size", "test_size")[number], 1, 1_000_000)
        rng = np.random.default_rng([seed, number])
        chosen = first + rounds(end - first, count, rng)
        images = compose(scans.images[chosen] / 16.0, size, rng)
        splits.append(Split(torch.from_numpy(images), torch.from_numpy(scans.target[chosen].astype(np.int64))))
    return Parts(tuple("0123456789"), splits[0], splits[1], note="scikit-learn digits, composed")


def compose(scans: NDArray[np.float64], size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Paste scans on gradients.

    Args:
        scans: (N, 8, 8) in [0, 1], 1 where the ink is.
        size: height and width of the result in pixels.
        rng: draws the place, the ink and the gradient.

    Returns:
        (N, 3, size, size) uint8.
    """
    count, digit = len(scans), size * 3 // 4
    enlarge = interpolation(8, digit)
    mask = np.zeros((count, size, size))
    glyphs = np.einsum("ij,njk,lk->nil", enlarge, scans, enlarge)
    places = rng.integers(0, size - digit + 1, (count, 2))
    for image, glyph, (top, left) in zip(mask, glyphs, places, strict=True):
        image[top : top + digit, left : left + digit] = glyph
    ground, ink = colours(count, size, rng)
    images = ground + mask[:, None] * (ink[:, :, None, None] - ground)
    return np.rint(images * 255.0).astype(np.uint8)


def colours(count: int, size: int, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gradients (N, 3, size, size) and inks (N, 3) in [0, 1], drawn again until the contrast holds.

    A gradient is the bilinear surface through four corners, each a common base colour plus a random offset.
    """
    ground, ink = np.empty((count, 3, size, size)), np.empty((count, 3))
    spread = interpolation(2, size, corners=True)
    open_ = np.arange(count)
    while len(open_):
        base = rng.random((len(open_), 3, 1, 1))
        corners = np.clip(base + rng.uniform(-0.35, 0.35, (len(open_), 3, 2, 2)), 0.0, 1.0)
        ground[open_] = np.einsum("ij,ncjk,lk->ncil", spread, corners, spread)
        ink[open_] = rng.random((len(open_), 3))
        distance = np.sqrt(((ground[open_] - ink[open_][:, :, None, None]) ** 2).sum(1)).min((1, 2))
        open_ = open_[distance < CONTRAST]
    return ground, ink


def rounds(scans: int, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """``count`` indices below ``scans``: whole random permutations, so that use differs by at most one."""
    orders = [rng.permutation(scans) for _ in range(-(-count // scans))]
    return np.concatenate(orders)[:count]


def interpolation(source: int, target: int, corners: bool = False) -> NDArray[np.float64]:
    """The (target, source) matrix of linear interpolation; with ``corners`` the end points are kept, as in a ramp."""
    steps = np.arange(target)
    at = steps * (source - 1) / (target - 1) if corners else (steps + 0.5) * source / target - 0.5
    at = np.clip(at, 0.0, source - 1.0)
    return np.maximum(0.0, 1.0 - np.abs(at[:, None] - np.arange(source)[None]))
