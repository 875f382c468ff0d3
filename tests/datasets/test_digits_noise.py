"""Digits on noise: where a digit may be, what it may look like, and that raw pixels do not tell its class."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from structgan.datasets import digits_noise
from structgan.errors import UserError

SETTINGS = {"image_size": 16, "digit_size": [9, 12], "noise": 0.0}


def test_a_digit_is_black_or_white_of_every_size_at_every_place_and_all_else_is_noise():
    rng = np.random.default_rng(0)
    images = digits_noise.compose(np.ones((2000, 8, 8)), SETTINGS, rng)
    assert images.shape == (2000, 3, 16, 16) and (images == images[:, :1]).all()
    gray, ink = images[:, 0], images[:, 0] != 128
    assert set(np.unique(gray[ink])) == {0, 255} and set(np.unique(gray[~ink])) == {128}
    spans = [
        (int(rows.argmax()), int(columns.argmax()), int(rows.sum()))
        for rows, columns in zip(ink.any(2), ink.any(1), strict=True)
    ]
    assert {side for _, _, side in spans} == {9, 10, 11}
    assert {(top, left) for top, left, side in spans if side == 11} == {(a, b) for a in range(6) for b in range(6)}
    noisy = digits_noise.compose(np.zeros((500, 8, 8)), {**SETTINGS, "noise": 0.1}, rng)[:, 0] / 255
    assert noisy.mean() == pytest.approx(0.5, abs=0.01) and noisy.std() == pytest.approx(0.1, abs=0.01)


def test_raw_pixels_tell_little(prepare):
    built = prepare(builder="digits_noise", image_size=16, train_size=3000, test_size=1000)
    train, test = (split.images[:, 0].flatten(1).numpy() / 255 for split in (built.train, built.test))
    probe = LogisticRegression(C=0.01, max_iter=300).fit(train, built.train.labels)
    assert probe.score(test, built.test.labels) < 0.2


def test_a_digit_that_does_not_fit_is_refused(prepare):
    with pytest.raises(UserError, match=r"digit_size is \[10, 18\]"):
        prepare(builder="digits_noise", image_size=16, digit_size=[10, 18])
