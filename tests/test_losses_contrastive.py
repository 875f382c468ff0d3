"""The loss that makes one batch a class of its own, with its gradient, against a literal loop."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from agreement import RNG, agree

from structgan.losses import contrastive


def literal(members, others, temperature):
    """-log of each positive's share among all but the anchor, mean over positives, mean over anchors."""
    samples = [row / math.sqrt(row @ row) for row in (*members, *others)]
    n, total = len(members), 0.0
    for i in range(n):
        shares = {a: math.exp(samples[i] @ samples[a] / temperature) for a in range(len(samples)) if a != i}
        for p in range(n):
            if p != i:
                total -= math.log(shares[p] / sum(shares.values())) / (n - 1) / n
    return total


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_members_against_a_literal_loop(temperature):
    members, others = RNG(1).normal(size=(4, 3)), RNG(2).normal(size=(5, 3))
    agree(
        lambda m, o: contrastive.one_class(m, o, temperature),
        lambda m, o: literal(m, o, temperature),
        members,
        others,
        tolerance=1e-6,
    )


def test_a_class_apart_from_all_others_has_the_least_loss():
    together = torch.tensor([[1.0, 0.0]]).repeat(4, 1)
    loss = contrastive.one_class(together, -together, 0.1).item()
    assert loss == pytest.approx(math.log(3), abs=1e-6)  # its share among the three positives
    assert contrastive.one_class(together, together, 0.1).item() == pytest.approx(math.log(7), abs=1e-6)
    assert np.isfinite(contrastive.one_class(1e4 * together, together, 1e-3).item())
