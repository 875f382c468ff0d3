"""Structural adversarial objectives (Zhang & Maire 2023, arXiv 2310.00357).

A GAN without a real/fake head. The discriminator embeds images on a sphere, and the two networks compete over the
distance of Gaussian statistics (coarse scale) and the closeness to real neighbors (fine scale), while the embedding's
Jacobian is bounded (smoothness). The representation is the pooled feature of the discriminator's moving average. A step
also logs the mean and the largest sigma of the batch and the norm of both networks' gradients.

A step is that of the authors' release: an update of the discriminator; an update of the generator, with fresh latents,
against the updated discriminator; both moving averages; then the memory bank takes the real batch, with embeddings of
the updated discriminator. Neighbors in the batch take gradients, those in the bank cannot. ``docs/deviations.md``
lists what still differs from the release.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from structgan import distributed, optim
from structgan.gan import GAN
from structgan.losses import adversarial, cluster, gaussian, smoothness
from structgan.models.memory import MemoryBank
from structgan.models.spectral import cached_spectral_norm
from structgan.models.tangent import Saved


class Structural(GAN):
    """The structural GAN; every weight, form and size is a setting, see ``workflow/config/config.yaml``."""

    companions = ("discriminator", "discriminator_ema")

    def __init__(self, settings: Mapping[str, Any], image_size: int, num_classes: int, steps: int) -> None:
        super().__init__(settings, image_size, num_classes, steps)
        self.cluster, embedding = settings["cluster"], settings["discriminator"]["embedding"]
        self.bank = MemoryBank(self.cluster["bank"], self.discriminator.backbone.features, embedding)

    def distance(self, real: Tensor, fake: Tensor) -> Tensor:
        """d, the mean over groups of ``per_process`` samples. Shape: both (N, C), of all processes; a scalar."""
        form, epsilon = gaussian.FORMS[self.settings["gaussian"]["form"]], self.settings["gaussian"]["epsilon"]
        size = distributed.group_size(len(real), self.settings["per_process"])
        real, fake = (torch.unflatten(part, 0, (-1, size)) for part in (real, fake))
        return form(real, fake, epsilon).mean()

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return self.sample_latents(n, self.settings["generator"]["latent"], generator)

    def readouts(self, images: Tensor) -> dict[str, Tensor]:
        """h and e of the moving average, and of the discriminator in training (``live``)."""
        named = (("", self.discriminator_ema), ("_live", self.discriminator))
        return {f"{key}{suffix}": value for suffix, net in named for key, value in zip("he", net(images), strict=True)}

    def collapse_vectors(self, images: Tensor) -> dict[str, Tensor]:
        features, embeddings = self.discriminator_ema(images)
        return {"features": features, "embeddings": embeddings}

    def step(self, views: list[Tensor], labels: Tensor | None) -> dict[str, Tensor]:
        (real,) = views
        self.schedule()
        fresh = self.settings["latents"] == "fresh"
        candidates = self.candidates(real) if self.cluster["weight"] else None
        with torch.set_grad_enabled(not fresh):
            fake, of_fake = self.generate(len(real), candidates)
        of_real = candidates.of_real() if candidates is not None else None
        losses, before = self.update_discriminator(real, fake.detach(), of_real, of_fake)
        if fresh:
            fake, of_fake = self.generate(len(real), candidates)
        losses_g, after = self.update_generator(real, fake, of_fake)
        self.update_averages()
        if candidates is not None and self.step_index % self.cluster["update_every"] == 0:
            self.bank.push(candidates.features, after if self.cluster["embeddings"] == "updated" else before)
        return losses | losses_g

    def generate(self, n: int, candidates: cluster.Candidates | None) -> tuple[Tensor, Tensor | None]:
        """Generated images, shape (n, 3, H, W), and their neighbors' indices, (n, k), where there are candidates."""
        images = self.fake_images(n)
        return images, None if candidates is None else candidates.of_fake(self.average_features(images.detach()))

    @torch.no_grad()
    def average_features(self, images: Tensor) -> Tensor:
        """Unit features of the discriminator's moving average, by which neighbors are found."""
        with cached_spectral_norm(self.discriminator_ema):
            return F.normalize(self.encoder(images), dim=1)

    def candidates(self, real: Tensor) -> cluster.Candidates:
        """The real samples that can be neighbors in this step."""
        k, skip, where = self.cluster["k"], int(self.cluster["skip_best_for_generated"]), "methods.structural.settings"
        features, group = self.average_features(real), self.settings["per_process"]
        return cluster.Candidates(features, self.bank.features, k, where, skip, group)

    def update_discriminator(
        self, real: Tensor, fake: Tensor, of_real: Tensor | None, of_fake: Tensor | None
    ) -> tuple[dict[str, Tensor], Tensor]:
        """-d + w_c L_cluster + w_s L_reg + w_h hinge over real and generated images, given their neighbors' indices.

        Returns the losses, and the real embeddings z of all processes before the update, shape (N, C).
        """
        images, losses, sigma = torch.cat([real, fake]), {}, None
        with cached_spectral_norm(self.discriminator):
            if self.settings["smoothness"]["weight"]:
                images.requires_grad_(True)
                value, tape = self.discriminator.trace(images)
                tangents = self.discriminator.derivative(self.power_iteration(images, value, tape), tape)
                losses["smoothness"], sigma = smoothness.penalty(tangents)
            else:
                value = self.discriminator(images)[1]
        z_real, z_fake = F.normalize(value, dim=1).chunk(2)
        all_real = distributed.gather(z_real)
        losses["gaussian"] = -self.distance(all_real, distributed.gather(z_fake))
        losses["hinge"] = adversarial.norm_hinge(value[: len(real)])
        if of_real is not None and of_fake is not None:
            pool = torch.cat([all_real, self.bank.embeddings])
            attraction = cluster.similarity(z_real, pool, of_real)
            losses["cluster"] = cluster.similarity(z_fake, pool, of_fake) - attraction
        logged = self.minimize(self.optimizer_d, "d", losses) | {"gradient_norm_d": gradient_norm(self.discriminator)}
        if sigma is not None:
            logged["sigma"] = sigma.detach().mean()
            logged["sigma_max"] = distributed.gather(sigma.detach()).max()
        return logged, all_real.detach()

    def power_iteration(self, images: Tensor, embeddings: Tensor, tape: list[Saved]) -> Tensor:
        """Unit direction v of each image by power iteration on J^T J from a random u. Shape: (N, 3, H, W).

        The images, which require grad, the embeddings, (N, C), and the tape are those of a traced pass.
        """
        left = self.noise(len(images), self.settings["discriminator"]["embedding"], stacked=2)
        right = smoothness.right_vector(embeddings, images, left)
        for _ in range(1, self.settings["smoothness"]["power_iterations"]):
            with torch.no_grad():
                left = self.discriminator.derivative(right, tape)
            right = smoothness.right_vector(embeddings, images, left)
        return right

    def update_generator(self, real: Tensor, fake: Tensor, of_fake: Tensor | None) -> tuple[dict[str, Tensor], Tensor]:
        """d + w_c L_cluster(G); returns the losses, and z as above by the updated discriminator."""
        self.discriminator.requires_grad_(False)
        with cached_spectral_norm(self.discriminator):
            with torch.no_grad():
                all_real = distributed.gather(F.normalize(self.discriminator(real)[1], dim=1))
            z_fake = F.normalize(self.discriminator(fake)[1], dim=1)
        losses = {"gaussian": self.distance(all_real, distributed.gather(z_fake))}
        if of_fake is not None:
            losses["cluster"] = -cluster.similarity(z_fake, torch.cat([all_real, self.bank.embeddings]), of_fake)
        logged = self.minimize(self.optimizer_g, "g", losses) | {"gradient_norm_g": gradient_norm(self.generator)}
        self.discriminator.requires_grad_(True)
        return logged, all_real

    def minimize(self, optimizer: torch.optim.Optimizer, player: str, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """One update by the weighted sum of the losses; returns them as they are logged."""
        total = torch.stack([self.settings[name]["weight"] * loss for name, loss in losses.items()]).sum()
        optim.minimize(optimizer, total)
        return {f"{player}_{name}": loss.detach() for name, loss in losses.items()}


def gradient_norm(network: nn.Module) -> Tensor:
    """Euclidean norm of a network's whole gradient, a scalar that waits for no device.

    Read after the optimizer's step: several processes that share a batch average their gradients as it begins.
    """
    return torch.nn.utils.get_total_norm([p.grad for p in network.parameters() if p.grad is not None])
