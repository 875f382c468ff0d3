"""ContraD (Jeong & Shin 2021, arXiv 2103.09742): a discriminator trained by contrast, with a small head that judges.

The backbone and its two projections learn from SimCLR's loss on two views of the real images, and from a supervised
contrastive loss in which all generated images are one class and every real view is a negative. Real against generated
is judged by the plain GAN's two-layer projection on features that no gradient passes: that head follows the
representation and never shapes it. The generator is trained through the head and the backbone, on images augmented as
the real ones are.

Networks, adversarial loss and averages are the plain GAN's; the two projections have its shape. Without augmentation
the two views are equal, and SimCLR's loss only spreads the images, as it does in SimCLR.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from structgan import distributed, optim
from structgan.losses import adversarial, contrastive
from structgan.method import Method
from structgan.models.discriminator import Discriminator
from structgan.models.generator import Generator
from structgan.models.memory import ema_update_, frozen_copy
from structgan.models.spectral import cached_spectral_norm, spectrally_normalized
from structgan.precision import exact


class ContraD(Method):
    """SimCLR on real images, one class of generated images, and a judge on top that the features do not see."""

    views = 2

    def __init__(self, settings: Mapping[str, Any], image_size: int, num_classes: int, steps: int) -> None:
        super().__init__(settings, image_size, num_classes, steps)
        net = settings["discriminator"]
        self.discriminator = Discriminator(image_size, **net, embedding=1)
        self.heads = nn.ModuleDict()
        for name in ("instance", "generated"):
            first = nn.Linear(self.discriminator.backbone.features, net["hidden"])
            self.heads[name] = nn.Sequential(first, nn.ELU(), nn.Linear(net["hidden"], settings["head_output"]))
        if settings["spectral_norm"]:
            spectrally_normalized(self.discriminator)
            spectrally_normalized(self.heads)
        self.generator = Generator(image_size, **settings["generator"], per_process=settings["per_process"])
        self.discriminator_ema = frozen_copy(self.discriminator)
        self.generator_ema = frozen_copy(self.generator)
        self.encoder = self.discriminator_ema.backbone
        optimizer = settings["optimizer"]
        learners = [*self.discriminator.parameters(), *self.heads.parameters()]
        self.optimizer_d = optim.build(learners, optimizer["discriminator"])
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
        """Augmented images of new latents by the generator in training. Shape: (n, 3, H, W), values in [-1, 1]."""
        return self.transform(self.generator(self.noise(n, self.settings["generator"]["latent"])))

    def objectives(self, first: Tensor, second: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """The discriminator's losses. Shape: two views of real images and generated ones, (N, 3, H, W) each.

        ``d_instance`` and ``d_generated`` reach the backbone, ``d_adversarial`` its projection alone.
        """
        with cached_spectral_norm(self.discriminator), cached_spectral_norm(self.heads):
            features = self.discriminator.backbone(torch.cat([first, second, fake]))
            instance = exact(self.heads["instance"])(features[: 2 * len(first)])
            generated = exact(self.heads["generated"])(features)
            logits = exact(self.discriminator.projection)(features.detach()).squeeze(1)
        one, two = map(distributed.gather, instance.chunk(2))
        *real, of_fake = map(distributed.gather, generated.chunk(3))
        judged = logits.chunk(3)
        return {
            "d_instance": contrastive.nt_xent(one, two, self.settings["temperature"]),
            "d_generated": contrastive.one_class(of_fake, torch.cat(real), self.settings["temperature"]),
            "d_adversarial": adversarial.discriminator_loss(judged[0], judged[2], self.settings["loss"]),
        }

    def step(self, views: list[Tensor], labels: Tensor | None) -> dict[str, Tensor]:
        for name, optimizer in self.optimizers().items():
            optim.schedule(optimizer, self.settings["optimizer"][name], self.step_index, self.steps)
        with torch.no_grad():
            fake = self.generate(len(views[0]))

        losses = self.objectives(*views, fake)
        weights = {"d_instance": 1.0, "d_generated": self.settings["generated_weight"], "d_adversarial": 1.0}
        optim.minimise(self.optimizer_d, torch.stack([weights[name] * loss for name, loss in losses.items()]).sum())

        fake = self.generate(len(views[0]))
        self.discriminator.requires_grad_(False)
        loss_g = adversarial.generator_loss(self.discriminator(fake)[1].squeeze(1), self.settings["loss"])
        optim.minimise(self.optimizer_g, loss_g)
        self.discriminator.requires_grad_(True)

        ema_update_(self.discriminator_ema, self.discriminator, self.settings["ema"])
        ema_update_(self.generator_ema, self.generator, self.settings["ema"])
        return {name: loss.detach() for name, loss in {**losses, "g_adversarial": loss_g}.items()}
