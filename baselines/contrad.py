"""ContraD (Jeong & Shin 2021, arXiv 2103.09742): a discriminator trained by contrast, with a small head that judges.

The backbone and two projections learn from SimCLR's loss on two views of the real images, and from a supervised
contrastive loss in which the generated images are one class and every real view is a negative. The plain GAN's
two-layer projection judges real against generated on detached features: it follows the representation and never shapes
it. The generator is trained through that head and the backbone, on images augmented as the real ones are.

Networks, adversarial loss and averages are the plain GAN's; the two projections have its shape. Without augmentation
the two views are equal, and SimCLR's loss only spreads the images, as it does in SimCLR.
"""

import torch
from torch import Tensor, nn

from structgan import distributed, optim
from structgan.gan import GAN
from structgan.losses import adversarial, contrastive
from structgan.models.spectral import cached_spectral_norm
from structgan.precision import exact


class ContraD(GAN):
    """SimCLR on real images, one class of generated images, and a judge on top that the features do not see."""

    views = 2

    def build_discriminator(self) -> None:
        super().build_discriminator()
        inputs, hidden = self.discriminator.backbone.features, self.settings["discriminator"]["hidden"]
        self.heads = nn.ModuleDict()
        for name in ("instance", "generated"):
            first = nn.Linear(inputs, hidden)
            self.heads[name] = nn.Sequential(first, nn.ELU(), nn.Linear(hidden, self.settings["head_output"]))

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return self.sample_latents(n, self.settings["generator"]["latent"], generator)

    def fake_images(self, n: int) -> Tensor:
        """Augmented images of new latents by the generator in training. Shape: (n, 3, H, W), values in [-1, 1]."""
        return self.transform(super().fake_images(n))

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
        self.schedule()
        with torch.no_grad():
            fake = self.fake_images(len(views[0]))
        losses = self.objectives(*views, fake)
        weights = {"d_instance": 1.0, "d_generated": self.settings["generated_weight"], "d_adversarial": 1.0}
        optim.minimize(self.optimizer_d, torch.stack([weights[name] * loss for name, loss in losses.items()]).sum())

        fake = self.fake_images(len(views[0]))
        self.discriminator.requires_grad_(False)
        loss_g = adversarial.generator_loss(self.discriminator(fake)[1].squeeze(1), self.settings["loss"])
        optim.minimize(self.optimizer_g, loss_g)
        self.discriminator.requires_grad_(True)

        self.update_averages()
        return {name: loss.detach() for name, loss in {**losses, "g_adversarial": loss_g}.items()}
