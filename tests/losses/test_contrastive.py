"""The contrastive losses with their gradients, against a literal loop and against lightly."""

import math

import pytest
import torch
from gradcheck import RNG, agree
from lightly.loss import NTXentLoss

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


@pytest.mark.parametrize("t", [0.1, 1.0])
def test_members_against_a_literal_loop(t):
    members, others = RNG(1).normal(size=(4, 3)), RNG(2).normal(size=(5, 3))
    ours = lambda m, o: contrastive.one_class(m, o, t)  # noqa: E731
    agree(ours, lambda m, o: literal(m, o, t), members, others, tolerance=1e-6)


@pytest.mark.parametrize(("n", "temperature"), [(2, 0.5), (64, 0.1)])
def test_nt_xent_is_lightlys_number_and_gradient(n, temperature):
    views = torch.from_numpy(RNG(n).normal(size=(2, n, 5)))
    mine, theirs = views.clone().requires_grad_(), views.clone().requires_grad_()
    loss, expected = contrastive.nt_xent(*mine, temperature), NTXentLoss(temperature=temperature)(*theirs)
    (loss + expected).backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-10, atol=1e-12)
