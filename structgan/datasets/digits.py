"""The embedded data set: scikit-learn's 1,797 scans of handwritten digits, pasted on color gradients.

An image shows one 8×8 scan, enlarged to three quarters of the image, in a random color at a random place on a smooth
random gradient. Colors are independent of the class, so a linear classifier on raw pixels fails and a method must learn
shapes. Train and test use different scans.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from structgan.datasets.store import Parts, Settings, Split
from structgan.errors import UserError

# fmt: off
DEFAULTS = {
    "image_size": 16, "train_size": 6000, "test_size": 2000, "train_scans": [500, 1797], "test_scans": [0, 500],
    "seed": 0,
}
LIMITS = {
    "image_size": {16, 32}, "train_size": (1, 1_000_000), "test_size": (1, 1_000_000), "train_scans": (0, 1797),
    "test_scans": (0, 1797), "seed": (0, 4294967295),
}
# fmt: on
CLASSES = tuple("0123456789")
CONTRAST = 0.5
"""Least distance in RGB, each channel in [0, 1], between the ink and every pixel of the background."""


def build(settings: Settings, raw: Path) -> Parts:
    """Compose the images, which depend on the settings only.

    Raises:
        UserError: train and test share scans.
    """
    splits = []
    for split, scans, labels, rng in scans_of_splits(settings, f"data set '{settings['name']}'"):
        chosen = permutations(len(scans), settings[f"{split}_size"], rng)
        images = compose(scans[chosen], settings["image_size"], rng)
        splits.append(Split(torch.from_numpy(images), torch.from_numpy(labels[chosen])))
    return Parts(CLASSES, splits[0], splits[1], note="scikit-learn digits, composed")


def scans_of_splits(
    settings: Settings, where: str
) -> Iterator[tuple[str, NDArray[np.float64], NDArray[np.int64], np.random.Generator]]:
    """Yield name, scans (N, 8, 8) with ink in [0, 1], labels (N,) and a random generator of the train and test split.

    Raises:
        UserError: train and test share scans, or a range is not in scikit-learn's data.
    """
    from sklearn.datasets import load_digits

    data = load_digits()
    train, test = settings["train_scans"], settings["test_scans"]
    if max(train[0], test[0]) < min(train[1], test[1]):
        raise UserError(f"{where}: train_scans {list(train)} and test_scans {list(test)} overlap")
    for number, (split, (first, end)) in enumerate((("train", train), ("test", test))):
        if not 0 <= first < end <= len(data.target):
            allowed = f"[first, end] with 0 <= first < end <= {len(data.target)}"
            raise UserError(f"{where}: {split}_scans is {[first, end]} (allowed: {allowed})")
        labels = data.target[first:end].astype(np.int64)
        yield split, data.images[first:end] / 16.0, labels, np.random.default_rng([settings["seed"], number])


def compose(scans: NDArray[np.float64], size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Paste scans (N, 8, 8) on gradients. Returns (N, 3, size, size)."""
    digit = size * 3 // 4
    mask = np.zeros((len(scans), size, size))
    enlarge = interpolation(8, digit)
    glyphs = np.einsum("ij,njk,lk->nil", enlarge, scans, enlarge)
    corners = rng.integers(0, size - digit + 1, (len(scans), 2))
    for image, glyph, (top, left) in zip(mask, glyphs, corners, strict=True):
        image[top : top + digit, left : left + digit] = glyph
    ground, ink = colors(len(scans), size, rng)
    images = ground + mask[:, None] * (ink[:, :, None, None] - ground)
    return np.rint(images * 255.0).astype(np.uint8)


def colors(count: int, size: int, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gradients (N, 3, size, size) and inks (N, 3) in [0, 1], drawn until they have ``CONTRAST``.

    A gradient interpolates four corners, each of which is a common color plus a random offset.
    """
    ground, ink = np.empty((count, 3, size, size)), np.empty((count, 3))
    ramp = interpolation(2, size, corners=True)
    left = np.arange(count)
    while len(left):
        base = rng.random((len(left), 3, 1, 1))
        corners = np.clip(base + rng.uniform(-0.35, 0.35, (len(left), 3, 2, 2)), 0.0, 1.0)
        ground[left] = np.einsum("ij,ncjk,lk->ncil", ramp, corners, ramp)
        ink[left] = rng.random((len(left), 3))
        distance = np.sqrt(((ground[left] - ink[left][:, :, None, None]) ** 2).sum(1)).min((1, 2))
        left = left[distance < CONTRAST]
    return ground, ink


def permutations(scans: int, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """``count`` indices below ``scans`` from whole permutations: every scan is used equally often, give or take one."""
    orders = [rng.permutation(scans) for _ in range(-(-count // scans))]
    return np.concatenate(orders)[:count]


def interpolation(source: int, target: int, corners: bool = False) -> NDArray[np.float64]:
    """The (target, source) matrix of linear interpolation. ``corners`` is torch's ``align_corners``."""
    steps = np.arange(target)
    at = steps * (source - 1) / (target - 1) if corners else (steps + 0.5) * source / target - 0.5
    at = np.clip(at, 0.0, source - 1.0)
    return np.maximum(0.0, 1.0 - np.abs(at[:, None] - np.arange(source)[None]))
