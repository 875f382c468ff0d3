"""What adversarial methods share: two networks, their moving averages, their optimizers and schedules."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from structgan import optim
from structgan.method import Method
from structgan.models.discriminator import Discriminator
from structgan.models.generator import Generator
from structgan.models.memory import ema_update_, frozen_copy
from structgan.models.spectral import spectrally_normalized


class GAN(Method):
    """A discriminator and a generator, updated in turn. The average of one encodes, that of the other samples.

    A subclass defines ``step`` and ``sample``. It overrides a ``build_`` method to use other networks.

    Settings: ``discriminator``, ``generator``, ``spectral_norm`` (of the discriminator; the generator always has it),
    ``per_process``, ``ema`` (decay a step), ``optimizer.discriminator`` and ``optimizer.generator``.
    """

    discriminator: Discriminator
    discriminator_ema: Discriminator
    generator: nn.Module
    generator_ema: nn.Module

    def __init__(self, settings: Mapping[str, Any], image_size: int, num_classes: int, steps: int) -> None:
        super().__init__(settings, image_size, num_classes, steps)
        self.build_discriminator()
        if settings["spectral_norm"]:
            spectrally_normalized(self)
        judging = list(self.parameters())
        self.build_generator()
        self.build_averages()
        self.encoder = self.discriminator_ema.backbone
        self.optimizer_d = optim.build(judging, settings["optimizer"]["discriminator"])
        self.optimizer_g = optim.build(self.generator.parameters(), settings["optimizer"]["generator"])

    def build_discriminator(self) -> None:
        """Create the discriminator, with one logit by default, and all else that its optimizer updates."""
        self.discriminator = Discriminator(self.image_size, **{"embedding": 1, **self.settings["discriminator"]})

    def build_generator(self) -> None:
        options = {**self.settings["generator"], "per_process": self.settings["per_process"]}
        self.generator = Generator(self.image_size, **options)

    def build_averages(self) -> None:
        self.discriminator_ema = frozen_copy(self.discriminator)
        self.generator_ema = frozen_copy(self.generator)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"discriminator": self.optimizer_d, "generator": self.optimizer_g}

    @property
    def live_encoder(self) -> nn.Module:
        return self.discriminator.backbone

    def fake_images(self, n: int) -> Tensor:
        """Images of new latents by the generator in training. Shape: (n, 3, H, W), values in [-1, 1]."""
        images: Tensor = self.generator(self.noise(n, self.settings["generator"]["latent"]))
        return images

    def schedule(self) -> None:
        """Set both learning rates for this step."""
        for name, optimizer in self.optimizers().items():
            optim.schedule(optimizer, self.settings["optimizer"][name], self.step_index, self.steps)

    def update_averages(self) -> None:
        """Move both averages towards the networks in training."""
        ema_update_(self.discriminator_ema, self.discriminator, self.settings["ema"])
        ema_update_(self.generator_ema, self.generator, self.settings["ema"])
