"""Adversarial losses of a GAN with one logit, and the norm hinge that keeps embeddings away from the origin."""

import torch.nn.functional as F
from torch import Tensor

from structgan.precision import exact


@exact
def discriminator_loss(real: Tensor, fake: Tensor, form: str) -> Tensor:
    """The discriminator's loss from its logits. Shape: real (N,), fake (M,); a scalar at least 0.

    ``hinge``: mean max(0, 1 - real) + mean max(0, 1 + fake) (Lim & Ye 2017; Miyato et al. 2018).
    ``non_saturating``: mean softplus(-real) + mean softplus(fake) (Goodfellow et al. 2014).
    """
    if form == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    return F.softplus(-real).mean() + F.softplus(fake).mean()


@exact
def generator_loss(fake: Tensor, form: str) -> Tensor:
    """The generator's loss: -mean fake for ``hinge``, mean softplus(-fake) for ``non_saturating``. Shape: fake (N,)."""
    return -fake.mean() if form == "hinge" else F.softplus(-fake).mean()


@exact
def norm_hinge(embeddings: Tensor) -> Tensor:
    """mean max(0, 1 - |e|)^2 (Zhang & Maire 2023). Shape: (N, C), not normalized; a scalar in [0, 1]."""
    return F.relu(1 - embeddings.norm(dim=1)).square().mean()
