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

from structgan import optim, parallel
from structgan.losses import adversarial
from structgan.method import Method
from structgan.models.discriminator import Discriminator
from structgan.models.generator import Generator
from structgan.models.memory import follow, frozen_copy
from structgan.models.spectral import spectrally_normalised

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
            spectrally_normalised(self.discriminator)
        self.gan_generator = Generator(image_size, **settings["generator"], per_process=settings["per_process"])
        self.average_discriminator = frozen_copy(self.discriminator)
        self.generator = frozen_copy(self.gan_generator)
        self.encoder = self.average_discriminator.backbone
        optimiser = settings["optimiser"]
        self.optimiser_d = optim.build(self.discriminator.parameters(), optimiser["discriminator"])
        self.optimiser_g = optim.build(self.gan_generator.parameters(), optimiser["generator"])

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        return {"discriminator": self.optimiser_d, "generator": self.optimiser_g}

    @property
    def live_encoder(self) -> nn.Module:
        return self.discriminator.backbone

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Images of the generator's moving average. Shape: (n, 3, H, W), values in [-1, 1]."""
        return self.draw(n, self.settings["generator"]["latent"], generator)

    def generate(self, n: int) -> Tensor:
        """Images of new latents by the generator in training. Shape: (n, 3, H, W), values in [-1, 1]."""
        images: Tensor = self.gan_generator(self.noise(n, self.settings["generator"]["latent"]))
        return images

    def step(self, views: list[Tensor], labels: Tensor | None) -> dict[str, Tensor]:
        (real,) = views
        for name, optimiser in self.optimisers().items():
            optim.schedule(optimiser, self.settings["optimiser"][name], self.step_index, self.steps)
        with torch.no_grad():
            fake = self.generate(len(real))
        turns = parallel.share(torch.arange(len(real) * parallel.size(), device=real.device)) % TURNS
        form, weights = self.settings["loss"], self.settings["rotation"]

        outputs = self.discriminator(torch.cat([real, fake, turned(real, turns)]))[1]
        of_real, of_fake, of_turned = outputs.chunk(3)
        loss_d = adversarial.discriminator_loss(of_real[:, 0], of_fake[:, 0], form)
        rotation_d = F.cross_entropy(of_turned[:, 1:], turns)
        optim.minimise(self.optimiser_d, loss_d + weights["discriminator"] * rotation_d)

        fake = self.generate(len(real))
        self.discriminator.requires_grad_(False)
        of_fake, of_turned = self.discriminator(torch.cat([fake, turned(fake, turns)]))[1].chunk(2)
        loss_g = adversarial.generator_loss(of_fake[:, 0], form)
        rotation_g = F.cross_entropy(of_turned[:, 1:], turns)
        optim.minimise(self.optimiser_g, loss_g + weights["generator"] * rotation_g)
        self.discriminator.requires_grad_(True)

        follow(self.average_discriminator, self.discriminator, self.settings["ema"])
        follow(self.generator, self.gan_generator, self.settings["ema"])
        accuracy = (outputs[2 * len(real) :, 1:].argmax(1) == turns).float().mean()
        losses = {"d_adversarial": loss_d, "d_rotation": rotation_d, "g_adversarial": loss_g, "g_rotation": rotation_g}
        return {name: loss.detach() for name, loss in losses.items()} | {"rotation_accuracy": accuracy}
