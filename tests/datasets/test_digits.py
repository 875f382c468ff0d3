"""Digits on color gradients: determined by the seed, from disjoint scans, with enough contrast."""

import numpy as np
from raw_data import TINY

from structgan.datasets import digits


def test_digits_use_disjoint_scans_evenly_and_the_right_ones(monkeypatch, prepare):
    seen: list[np.ndarray] = []
    compose = digits.compose
    monkeypatch.setattr(digits, "compose", lambda scans, *rest: seen.append(scans) or compose(scans, *rest))
    from sklearn.datasets import load_digits

    bunch = load_digits()
    index = {scan.tobytes(): number for number, scan in enumerate(bunch.images / 16.0)}
    built = prepare(**{**TINY, "train_size": 3000, "test_size": 1100})
    used = [np.array([index[scan.tobytes()] for scan in scans]) for scans in seen]
    assert set(used[0]) == set(range(500, 1797)) and set(used[1]) == set(range(500))
    assert np.ptp(np.bincount(used[0] - 500)) == 1 and np.ptp(np.bincount(used[1])) <= 1
    assert built.train.labels.tolist() == bunch.target[used[0]].tolist()
    assert built.test.labels.tolist() == bunch.target[used[1]].tolist()


def test_a_digit_stands_out_wherever_it_is():
    rng = np.random.default_rng(0)
    solid = digits.compose(np.ones((200, 8, 8)), 16, rng).astype(float) / 255
    blank = digits.compose(np.zeros((200, 8, 8)), 16, np.random.default_rng(0)).astype(float) / 255
    distance = np.sqrt(((solid - blank) ** 2).sum(1))  # same draws: the pasted square against its own background
    pasted = distance > 0.1
    assert (pasted.sum((1, 2)) == 144).all()
    assert distance[pasted].min() >= digits.CONTRAST - 0.02
    steps = np.abs(np.diff(blank, axis=-1)).max()
    assert steps < 0.7 / 15 + 2 / 255  # smooth: a corner differs from the next by at most 0.7
    corners = {
        (int(rows.argmax()), int(columns.argmax())) for rows, columns in zip(pasted.any(2), pasted.any(1), strict=True)
    }
    assert corners == {(top, left) for top in range(5) for left in range(5)}
