"""A plain GAN with the networks of the structural GAN, so that only the objective differs.

The projection ends in one logit; the discriminator is spectrally normalized (Miyato et al. 2018, arXiv 1802.05957), the
loss is the hinge or the non-saturating one. The representation is the pooled feature of the discriminator's moving
average.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from structgan import optim
from structgan.losses import adversarial
from structgan.method import Method
from structgan.models.discriminator import Discriminator
from structgan.models.generator import Generator
from structgan.models.memory import ema_update_, frozen_copy
from structgan.models.spectral import spectrally_normalized


class PlainGAN(Method):
    """Real against generated, one logit."""

    def __init__(self, settings: Mapping[str, Any], image_size: int, num_classes: int, steps: int) -> None:
        super().__init__(settings, image_size, num_classes, steps)
        self.discriminator = Discriminator(image_size, **settings["discriminator"], embedding=1)
        if settings["spectral_norm"]:
            spectrally_normalized(self.discriminator)
        self.generator = Generator(image_size, **settings["generator"], per_process=settings["per_process"])
        self.discriminator_ema = frozen_copy(self.discriminator)
        self.generator_ema = frozen_copy(self.generator)
        self.encoder = self.discriminator_ema.backbone
        optimizer = settings["optimizer"]
        self.optimizer_d = optim.build(self.discriminator.parameters(), optimizer["discriminator"])
        self.optimizer_g = optim.build(self.generator.parameters(), optimizer["generator"])

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"discriminator": self.optimizer_d, "generator": self.optimizer_g}

    @property
    def live_encoder(self) -> nn.Module:
        return self.discriminator.backbone

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Images of the generator's moving average. Shape: (n, 3, H, W), values in [-1, 1]."""
        return self.sample_latents(n, self.settings["generator"]["latent"], generator)

    def generate(self, n: int) -> Tensor:
        """Images of new latents by the generator in training. Shape: (n, 3, H, W), values in [-1, 1]."""
        images: Tensor = self.generator(self.noise(n, self.settings["generator"]["latent"]))
        return images

    def step(self, views: list[Tensor], labels: Tensor | None) -> dict[str, Tensor]:
        (real,) = views
        for name, optimizer in self.optimizers().items():
            optim.schedule(optimizer, self.settings["optimizer"][name], self.step_index, self.steps)
        with torch.no_grad():
            fake = self.generate(len(real))
        form = self.settings["loss"]

        logits = self.discriminator(torch.cat([real, fake]))[1].squeeze(1)
        loss_d = adversarial.discriminator_loss(logits[: len(real)], logits[len(real) :], form)
        optim.minimise(self.optimizer_d, loss_d)

        fake = self.generate(len(real))
        self.discriminator.requires_grad_(False)
        loss_g = adversarial.generator_loss(self.discriminator(fake)[1].squeeze(1), form)
        optim.minimise(self.optimizer_g, loss_g)
        self.discriminator.requires_grad_(True)

        ema_update_(self.discriminator_ema, self.discriminator, self.settings["ema"])
        ema_update_(self.generator_ema, self.generator, self.settings["ema"])
        return {"d_adversarial": loss_d.detach(), "g_adversarial": loss_g.detach()}
