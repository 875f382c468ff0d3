"""A plain GAN with the networks of the structural GAN, so that only the objective differs.

The projection ends in one logit, the discriminator is spectrally normalized (Miyato et al. 2018, arXiv 1802.05957), and
the loss is the hinge or the non-saturating one. The backbone keeps its group norms, so that spectral normalization
does not bound the discriminator's Lipschitz constant, as it does in networks without norms.
"""

import torch
from torch import Tensor

from structgan import optim
from structgan.gan import GAN
from structgan.losses import adversarial


class PlainGAN(GAN):
    """Real against generated, one logit."""

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return self.sample_latents(n, self.settings["generator"]["latent"], generator)

    def step(self, views: list[Tensor], labels: Tensor | None) -> dict[str, Tensor]:
        (real,) = views
        self.schedule()
        with torch.no_grad():
            fake = self.fake_images(len(real))
        of_real, of_fake = self.discriminator(torch.cat([real, fake]))[1].squeeze(1).chunk(2)
        loss_d = adversarial.discriminator_loss(of_real, of_fake, self.settings["loss"])
        optim.minimize(self.optimizer_d, loss_d)

        fake = self.fake_images(len(real))
        self.discriminator.requires_grad_(False)
        loss_g = adversarial.generator_loss(self.discriminator(fake)[1].squeeze(1), self.settings["loss"])
        optim.minimize(self.optimizer_g, loss_g)
        self.discriminator.requires_grad_(True)

        self.update_averages()
        return {"d_adversarial": loss_d.detach(), "g_adversarial": loss_g.detach()}
