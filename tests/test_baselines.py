"""The baselines against what they stand for: the plain GAN's networks and SimCLR's loss."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from snapshots import IMAGES

from structgan import train


@pytest.mark.parametrize("loss", ["hinge", "non_saturating"])
@pytest.mark.parametrize("spectral", [True, False])
def test_plain_gan_has_the_same_networks_and_one_logit(make_run, digits, loss, spectral):
    settings = {"loss": loss, "spectral_norm": spectral}
    run = train.Run(make_run("plain_gan", settings=settings, steps=2), digits, "cpu")
    run.fit()
    structural = train.Run(make_run("structural", folder="s"), digits, "cpu").method
    mine = [p.shape for p in run.method.encoder.parameters()]
    theirs = [p.shape for p in structural.encoder.parameters()]
    assert sorted(mine) == sorted(theirs)
    assert run.method.discriminator(IMAGES)[1].shape == (7, 1)
    assert hasattr(run.method.discriminator.projection[-1], "parametrizations") == spectral


def test_simclr_loss_is_nt_xent(make_run, digits):
    """Against a literal loop: -log exp(s_ij / t) / sum over all other views, mean over the 2N views."""
    run = train.Run(make_run("simclr", augmentation="simclr"), digits, "cpu")
    method = copy.deepcopy(run.method.train())
    views, _ = next(run.batches)
    z = F.normalize(method.head(method.encoder(torch.cat(views))), dim=1).double()
    total, n = 0.0, len(views[0])
    for i in range(2 * n):
        scores = {j: (z[i] @ z[j] / run.method.settings["temperature"]).exp() for j in range(2 * n) if j != i}
        total -= (scores[(i + n) % (2 * n)] / sum(scores.values())).log() / (2 * n)
    assert run.method.step(views, None)["nt_xent"].item() == pytest.approx(total.item(), rel=1e-4)
