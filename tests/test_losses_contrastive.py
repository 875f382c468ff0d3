"""The contrastive losses with their gradients, against a literal loop and against lightly, and the projection head."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from gradcheck import RNG, agree

from structgan.losses import contrastive
from structgan.models import projection


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


@pytest.mark.parametrize(("n", "temperature"), [(2, 0.5), (7, 0.2), (64, 0.1)])
def test_nt_xent_is_lightlys_number_and_gradient(n, temperature):
    from lightly.loss import NTXentLoss

    views = torch.from_numpy(RNG(n).normal(size=(2, n, 5)))
    mine, theirs = views.clone().requires_grad_(), views.clone().requires_grad_()
    loss = contrastive.nt_xent(*mine, temperature)
    expected = NTXentLoss(temperature=temperature)(*theirs)
    loss.backward()
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-10, atol=1e-12)


def test_the_projection_head_is_lightlys():
    from lightly.models.modules import SimCLRProjectionHead

    torch.manual_seed(0)
    mine = projection.simclr_head(6, 10, 4)
    torch.manual_seed(0)
    theirs = SimCLRProjectionHead(6, 10, 4)
    inputs = torch.randn(8, 6)
    assert torch.equal(mine(inputs), theirs(inputs))
    assert [p.shape for p in mine.parameters()] == [p.shape for p in theirs.parameters()]
