"""SSGAN (Chen et al. 2019, arXiv 1811.11212): a GAN whose discriminator also tells by how much an image was turned.

Networks, adversarial loss and averages are the plain GAN's; the projection ends in four more logits, one for each
quarter turn. The discriminator learns them on turned real images, and the generator is rewarded where its images,
turned likewise, are told apart by that same head. Real against generated is judged on upright images only.

Left open by the paper, chosen here: each image of a batch is turned once, image i by i modulo 4 quarter turns, so that
every turn has a quarter of the batch; the real/fake logit and the rotation logits share the projection's hidden layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from structgan import distributed, optim
from structgan.losses import adversarial
from structgan.method import Method
from structgan.models.discriminator import Discriminator
from structgan.models.generator import Generator
from structgan.models.memory import ema_update_, frozen_copy
from structgan.models.spectral import spectrally_normalized

TURNS = 4


def turned(images: Tensor, turns: Tensor) -> Tensor:
    """Each image by its own number of counter-clockwise quarter turns. Shape: (N, C, H, H) and (N,) in 0..3."""
    every = torch.stack([torch.rot90(images, turn, (2, 3)) for turn in range(TURNS)])
    return every[turns, torch.arange(len(images), device=images.device)]


class SSGAN(Method):
    """Real against generated, and which way is up."""

    def __init__(self, settings: Mapping[str, Any], image_size: int, num_classes: int, steps: int) -> None:
        super().__init__(settings, image_size, num_classes, steps)
        self.discriminator = Discriminator(image_size, **settings["discriminator"], embedding=1 + TURNS)
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
        turns = distributed.shard(torch.arange(len(real) * distributed.size(), device=real.device)) % TURNS
        form, weights = self.settings["loss"], self.settings["rotation"]

        outputs = self.discriminator(torch.cat([real, fake, turned(real, turns)]))[1]
        of_real, of_fake, of_turned = outputs.chunk(3)
        loss_d = adversarial.discriminator_loss(of_real[:, 0], of_fake[:, 0], form)
        rotation_d = F.cross_entropy(of_turned[:, 1:], turns)
        optim.minimise(self.optimizer_d, loss_d + weights["discriminator"] * rotation_d)

        fake = self.generate(len(real))
        self.discriminator.requires_grad_(False)
        of_fake, of_turned = self.discriminator(torch.cat([fake, turned(fake, turns)]))[1].chunk(2)
        loss_g = adversarial.generator_loss(of_fake[:, 0], form)
        rotation_g = F.cross_entropy(of_turned[:, 1:], turns)
        optim.minimise(self.optimizer_g, loss_g + weights["generator"] * rotation_g)
        self.discriminator.requires_grad_(True)

        ema_update_(self.discriminator_ema, self.discriminator, self.settings["ema"])
        ema_update_(self.generator_ema, self.generator, self.settings["ema"])
        accuracy = (outputs[2 * len(real) :, 1:].argmax(1) == turns).float().mean()
        losses = {"d_adversarial": loss_d, "d_rotation": rotation_d, "g_adversarial": loss_g, "g_rotation": rotation_g}
        return {name: loss.detach() for name, loss in losses.items()} | {"rotation_accuracy": accuracy}
