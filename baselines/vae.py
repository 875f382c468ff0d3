"""A variational autoencoder (Kingma & Welling 2014, arXiv 1312.6114), plain or with the structural objectives.

The encoder is the backbone of every row, with heads for mean m and log-variance of q(w | x); the decoder is the GANs'
generator. The bound is taken in nats a pixel value, of which an image has D = 3 H W:

    loss = 1/2 [log(2 pi MSE) + 1] + beta/D KL(q(w | x) || N(0, I))

The first term is -log p(x | w) / D of a Gaussian with the variance that is best for the batch, its MSE (Rybkin et al.
2021, arXiv 2006.13202), so that beta = 1 is the bound itself and no variance has to be tuned. Unlike theirs, m and the
log-variance are read from the pooled feature, in which places are hard to find. That feature, of the backbone's moving
average, is the representation; samples are its decoder's from w ~ N(0, I).

``structural``: encoder and decoder also play the game of ``structgan.objectives``, for real images against images that
the decoder makes from w ~ N(0, I). These are the G(w) of Zhang & Maire 2023: a reconstruction differs from one real
image by its blur, while a generated image is compared with all. The bound wants features that rebuild pixels;
L_Gaussian spreads them over the real images and L_cluster brings neighbors together, which the bound does not ask for.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from structgan import distributed, objectives, optim
from structgan.method import Method
from structgan.models.discriminator import Backbone
from structgan.models.generator import Generator
from structgan.models.memory import ema_update_, frozen_copy
from structgan.precision import exact


@exact
def kl_to_prior(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(m, diag v) || N(0, I)) in nats, mean over images. Shape: (N, latent) each; a scalar, at least 0."""
    posterior = Normal(mean, (0.5 * log_variance).exp(), validate_args=False)
    prior = Normal(torch.zeros_like(mean), torch.ones_like(mean), validate_args=False)
    return kl_divergence(posterior, prior).sum(1).mean()


@exact
def reconstruction(images: Tensor, decoded: Tensor) -> Tensor:
    """-log p(x | w) in nats a pixel value, at the best variance for the batch. Shape: (N, 3, H, W) each; a scalar."""
    errors = distributed.gather((images - decoded).square().flatten(1).mean(1))
    return 0.5 * ((2 * math.pi * errors.mean()).log() + 1)


class VAE(Method):
    """Backbone, two heads and the generator, by the evidence lower bound."""

    def __init__(self, settings: Mapping[str, Any], image_size: int, num_classes: int, steps: int) -> None:
        super().__init__(settings, image_size, num_classes, steps)
        self.backbone = Backbone(image_size, **settings["encoder"])
        self.latent = settings["decoder"]["latent"]
        self.posterior = nn.Linear(self.backbone.features, 2 * self.latent)
        self.decoder = Generator(image_size, **settings["decoder"])
        terms = settings["objectives"]
        self.game = objectives.StructuralGame(self.backbone.features, terms) if objectives.wanted(terms) else None
        self.optimizer = optim.build(self.parameters(), settings["optimizer"])
        self.encoder, self.generator_ema = frozen_copy(self.backbone), frozen_copy(self.decoder)

    @property
    def live_encoder(self) -> nn.Module:
        return self.backbone

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return self.sample_latents(n, self.latent, generator)

    def step(self, views: list[Tensor], labels: Tensor | None) -> dict[str, Tensor]:
        (real,) = views
        optim.schedule(self.optimizer, self.settings["optimizer"], self.step_index, self.steps)
        images = real
        if self.game is not None:
            images = self.game.against(real, self.decoder(self.noise(len(real), self.latent)))
        features = self.backbone(images)
        mean, log_variance = exact(self.posterior)(features[: len(real)]).chunk(2, dim=1)
        decoded = self.decoder(mean + (0.5 * log_variance).exp() * self.noise(len(real), self.latent))
        losses = {"reconstruction": reconstruction(real, decoded), "kl": kl_to_prior(mean, log_variance)}
        loss = losses["reconstruction"] + self.settings["beta"] / real[0].numel() * losses["kl"]
        logged = {name: value.detach() for name, value in losses.items()}
        if self.game is not None:
            total, terms = self.game(features, self.encoder, images.detach())
            loss, logged = loss + total, logged | terms
        optim.minimize(self.optimizer, loss)
        ema_update_(self.encoder, self.backbone, self.settings["ema"])
        ema_update_(self.generator_ema, self.decoder, self.settings["ema"])
        return logged
