"""A regime's values: what is wrong in one line, what is derived, what is not the regime's."""

from __future__ import annotations

import pytest

from structgan.augment import build
from structgan.errors import UserError


@pytest.mark.parametrize(
    ("regime", "words"),
    [
        ({"flop": 0.5}, ["'flop'", "did you mean 'flip'", "grayscale"]),
        ({"flip": 1.5}, ["flip is 1.5", "from 0 to 1"]),
        ({"flip": True}, ["flip is True"]),
        ({"crop": 0.5}, ["crop is 0.5", "interpolation"]),
        ({"crop": {"scales": [0.1, 1]}}, ["'scales'", "did you mean 'scale'"]),
        ({"crop": {"scale": [1.0, 0.5]}}, ["crop.scale is [1.0, 0.5]"]),
        ({"crop": {"scale": [0.5, 1.5]}}, ["crop.scale is [0.5, 1.5]", "to 1)"]),
        ({"crop": {"ratio": [0, 1]}}, ["crop.ratio is [0, 1]"]),
        ({"crop": {"interpolation": "nearest"}}, ["'nearest'", "bilinear, bicubic"]),
        ({"crop": {"scale": [0.1, 1], "interpolation": "bicubic"}}, ["crop.ratio is missing", "scale, ratio"]),
        ({"blur": {}}, ["blur.p is missing"]),
        ({"jitter": {"hue": 0.6}}, ["jitter.hue is 0.6", "0.5"]),
        ({"jitter": {"p": float("nan")}}, ["jitter.p is nan"]),
        ({"blur": {"kernel": 4}}, ["blur.kernel is 4", "odd"]),
        ({"blur": {"sigma": [0, 1]}}, ["blur.sigma is [0, 1]"]),
    ],
)
def test_a_wrong_regime_is_one_line(regime, words):
    with pytest.raises(UserError) as caught:
        build(regime, 16)
    assert "\n" not in str(caught.value)
    assert "augmentation regime" in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_title_is_passed_over_and_defaults_are_recorded():
    assert build({"title": "none"}, 16).regime == {}
    assert build({"blur": {"p": 1.0, "sigma": [0.1, 2.0]}}, 96).regime["blur"] == {
        "p": 1.0,
        "sigma": (0.1, 2.0),
        "kernel": 9,
    }
