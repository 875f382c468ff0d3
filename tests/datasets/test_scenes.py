"""Scenes of digits: masks and boxes are exact, and train and test show different scans."""

import numpy as np
import pytest
import torch
from refusal import refused
from sklearn.datasets import load_digits
from test_goldens import SCENES as SETTINGS

from structgan.datasets import scenes
from structgan.datasets.digits import CONTRAST, interpolation


@pytest.fixture(scope="module")
def splits():
    return scenes.build(SETTINGS)


def objects(split):
    """Box, label and mask inside the box of every object of a split."""
    columns = split.boxes.long().tolist(), split.labels.tolist(), split.owners.tolist()
    for (left, top, right, bottom), label, image in zip(*columns, strict=True):
        yield image, np.s_[top:bottom, left:right], label, split.masks[image, top:bottom, left:right] == label + 1


def test_boxes_are_tight_and_masks_are_scans_of_their_own_split(splits):
    scans, enlarge = load_digits(), interpolation(8, 12)
    known = {}
    for number, glyph in enumerate(np.einsum("ij,njk,lk->nil", enlarge, scans.images / 16.0, enlarge) >= 0.5 - 1e-9):
        rows, columns = np.flatnonzero(glyph.any(1)), np.flatnonzero(glyph.any(0))
        tight = glyph[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        known.setdefault((tight.shape, tight.tobytes()), []).append((number, scans.target[number]))
    for split, (first, end) in zip(splits, (SETTINGS["train_scans"], SETTINGS["test_scans"]), strict=True):
        covered = torch.zeros_like(split.masks, dtype=torch.bool)
        for image, place, label, mask in objects(split):
            assert mask.any(1)[[0, -1]].all() and mask.any(0)[[0, -1]].all()
            covered[image][place] |= mask
            found = known[(tuple(mask.shape), mask.numpy().tobytes())]
            assert [number for number, digit in found if digit == label and first <= number < end]
        assert torch.equal(covered, split.masks > 0)


def test_shapes_numbers_and_contrast(splits):
    train, test = splits
    assert train.images.shape == (40, 3, 32, 32) and train.images.dtype == torch.uint8
    assert test.masks.shape == (30, 32, 32) and splits[0].digest() != splits[1].digest()
    numbers = torch.bincount(train.owners, minlength=40)
    assert set(numbers.tolist()) == {1, 2, 3} and (train.owners.diff() >= 0).all() and not train.difficult.any()
    sides = train.boxes[:, 2:] - train.boxes[:, :2]
    assert (sides > 0).all() and (sides <= 12).all() and (train.boxes >= 0).all() and (train.boxes <= 32).all()
    assert np.linalg.norm(scenes.ink(np.zeros((3, 4, 4)), np.random.default_rng(0))) >= CONTRAST
    other = scenes.build({**SETTINGS, "seed": 1})
    assert not {split.digest() for split in other} & {split.digest() for split in splits}


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("train_scans", {"train_scans": [400, 1797]}),
        ("test_scans", {"test_scans": [0, 0]}),
        ("train_scans", {"train_scans": [500, 1798]}),
        ("objects", {"objects": [3, 1]}),
        ("objects", {"objects": [9, 9]}),
        ("digit_size", {"digit_size": 40}),
        ("ink", {"ink": 1.1}),
    ],
)
def test_settings_that_make_no_scene_are_refused(key, change):
    with refused("evaluation.dense.images.scenes", key):
        scenes.build({**SETTINGS, **change})
