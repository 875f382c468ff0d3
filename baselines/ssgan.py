"""SSGAN (Chen et al. 2019, arXiv 1811.11212): a GAN whose discriminator also tells by how much an image was rotated.

Networks, adversarial loss and averages are the plain GAN's. The projection ends in four more logits, one for each
quarter turn. The discriminator learns them on rotated real images, and the generator is rewarded when that head
recognizes the rotations of its images. Real against generated is judged on upright images only.

Chosen here: each image of a batch is rotated once, image i by i modulo 4 quarter turns, so that every rotation has a
quarter of the batch (the authors' compare_gan turns each image of a part of the batch all four ways); all logits share
the projection's hidden layer.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from structgan import distributed, optim
from structgan.gan import GAN
from structgan.losses import adversarial
from structgan.models.discriminator import Discriminator

TURNS = 4


def rotated(images: Tensor, turns: Tensor) -> Tensor:
    """Each image by its own number of counter-clockwise quarter turns. Shape: (N, C, H, H) and (N,) in 0..3."""
    every = torch.stack([torch.rot90(images, turn, (2, 3)) for turn in range(TURNS)])
    return every[turns, torch.arange(len(images), device=images.device)]


class SSGAN(GAN):
    """Real against generated, and which way is up."""

    def build_discriminator(self) -> None:
        self.discriminator = Discriminator(self.image_size, **self.settings["discriminator"], embedding=1 + TURNS)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return self.sample_latents(n, self.settings["generator"]["latent"], generator)

    def step(self, views: list[Tensor], labels: Tensor | None) -> dict[str, Tensor]:
        (real,) = views
        self.schedule()
        with torch.no_grad():
            fake = self.fake_images(len(real))
        turns = distributed.shard(torch.arange(len(real) * distributed.size(), device=real.device)) % TURNS
        form, weights = self.settings["loss"], self.settings["rotation"]

        outputs = self.discriminator(torch.cat([real, fake, rotated(real, turns)]))[1]
        of_real, of_fake, of_rotated = outputs.chunk(3)
        loss_d = adversarial.discriminator_loss(of_real[:, 0], of_fake[:, 0], form)
        rotation_d = F.cross_entropy(of_rotated[:, 1:], turns)
        accuracy = (of_rotated[:, 1:].argmax(1) == turns).float().mean()
        optim.minimize(self.optimizer_d, loss_d + weights["discriminator"] * rotation_d)

        fake = self.fake_images(len(real))
        self.discriminator.requires_grad_(False)
        of_fake, of_rotated = self.discriminator(torch.cat([fake, rotated(fake, turns)]))[1].chunk(2)
        loss_g = adversarial.generator_loss(of_fake[:, 0], form)
        rotation_g = F.cross_entropy(of_rotated[:, 1:], turns)
        optim.minimize(self.optimizer_g, loss_g + weights["generator"] * rotation_g)
        self.discriminator.requires_grad_(True)

        self.update_averages()
        losses = {"d_adversarial": loss_d, "d_rotation": rotation_d, "g_adversarial": loss_g, "g_rotation": rotation_g}
        return {name: loss.detach() for name, loss in losses.items()} | {"rotation_accuracy": accuracy}
