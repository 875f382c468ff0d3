"""Scenes of digits: masks and boxes are exact, scans of train and test differ, the same settings give the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from refusal import refused
from sklearn.datasets import load_digits

from structgan import config
from structgan.datasets import scenes
from structgan.datasets.digits import CONTRAST, interpolation

SETTINGS = {
    "image_size": 32, "digit_size": 12, "objects": [1, 3], "ink": 0.5, "train_size": 40, "test_size": 30,
    "train_scans": [500, 1797], "test_scans": [0, 500], "seed": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def splits():
    return scenes.build(SETTINGS)


def test_a_box_is_the_tight_frame_of_its_objects_mask(splits):
    for split in splits:
        covered = torch.zeros_like(split.masks, dtype=torch.bool)
        for box, label, image in zip(
            split.boxes.long().tolist(), split.labels.tolist(), split.owners.tolist(), strict=True
        ):
            left, top, right, bottom = box
            inside = split.masks[image, top:bottom, left:right] == label + 1
            assert inside.any(1)[[0, -1]].all() and inside.any(0)[[0, -1]].all()
            covered[image, top:bottom, left:right] |= inside
        assert torch.equal(covered, split.masks > 0)  # every pixel of a mask is in the box of its object


def test_a_mask_is_the_ink_of_a_scan_of_its_class(splits):
    """Every object's mask is, at the place of its box, the thresholded enlargement of a scan of its own split."""
    scans, enlarge = load_digits(), interpolation(8, 12)
    glyphs = np.einsum("ij,njk,lk->nil", enlarge, scans.images / 16.0, enlarge) >= SETTINGS["ink"] - 1e-9
    known = {}
    for number, glyph in enumerate(glyphs):
        rows, columns = np.flatnonzero(glyph.any(1)), np.flatnonzero(glyph.any(0))
        tight = glyph[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        known.setdefault((tight.shape, tight.tobytes()), []).append((number, scans.target[number]))
    for split, (first, end) in zip(splits, (SETTINGS["train_scans"], SETTINGS["test_scans"]), strict=True):
        for box, label, image in zip(
            split.boxes.long().tolist(), split.labels.tolist(), split.owners.tolist(), strict=True
        ):
            left, top, right, bottom = box
            mask = (split.masks[image, top:bottom, left:right] == label + 1).numpy()
            found = known.get((mask.shape, np.ascontiguousarray(mask).tobytes()), [])
            assert [number for number, digit in found if digit == label and first <= number < end]


def test_shapes_numbers_and_contrast(splits):
    train, test = splits
    assert (
        train.images.shape == (40, 3, 32, 32) and train.images.dtype == torch.uint8 and test.masks.shape == (30, 32, 32)
    )
    numbers = torch.bincount(train.owners, minlength=40)
    assert set(numbers.tolist()) == {1, 2, 3} and (train.owners.diff() >= 0).all() and not train.difficult.any()
    sides = train.boxes[:, 2:] - train.boxes[:, :2]
    assert (sides > 0).all() and (sides <= 12).all() and (train.boxes >= 0).all() and (train.boxes <= 32).all()
    picture = np.zeros((3, 4, 4))
    assert np.linalg.norm(scenes.ink(picture, np.random.default_rng(0))) >= CONTRAST


def test_the_same_settings_give_the_same_scenes_and_another_seed_others(splits):
    again, other = scenes.build(SETTINGS), scenes.build({**SETTINGS, "seed": 1})
    assert [split.digest() for split in again] == [split.digest() for split in splits]
    assert not {split.digest() for split in other} & {split.digest() for split in splits}
    assert splits[0].digest() != splits[1].digest()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"train_scans": [400, 1797]}, ["train_scans [400, 1797]", "test_scans [0, 500]", "overlap"]),
        ({"test_scans": [0, 0]}, ["test_scans is [0, 0]", "1797"]),
        ({"train_scans": [500, 1798]}, ["train_scans is [500, 1798]", "1797"]),
        ({"objects": [3, 1]}, ["objects is [3, 1]", "fewest first"]),
        ({"objects": [9, 9]}, ["9 scans of 12 pixels", "32"]),
        ({"digit_size": 40}, ["scans of 40 pixels", "32"]),
        ({"ink": 1.1}, ["ink is 1.1", "no pixel"]),
    ],
)
def test_what_makes_no_scene_is_one_line(change, words):
    with refused("evaluation.dense.images.scenes", *words):
        scenes.build({**SETTINGS, **change})


def test_the_fields_scenes_can_be_built_and_every_scan_has_ink():
    field = config.load(["workflow/config/demo.yaml", "workflow/config/field.yaml"])
    settings = field["evaluation"]["dense"]["images"]["scenes"]
    enlarge = interpolation(8, settings["digit_size"])
    glyphs = np.einsum("ij,njk,lk->nil", enlarge, load_digits().images / 16.0, enlarge)
    assert glyphs.max((1, 2)).min() >= settings["ink"]
    trained = field["datasets"]["digits"]["image_size"]
    assert settings["digit_size"] == trained * 3 // 4  # scans as large as the encoders saw them
