"""Self-conditioned GAN (Liu et al. 2020, arXiv 2006.10728): class-conditional, with clusters of its own as the classes.

On schedule a pool of training images is clustered by k-means of the discriminator's features, and the clusters keep
their ids. The generator is given a cluster beside its latent; the discriminator has a logit for each cluster, and the
one of the image's own cluster counts. A real image's cluster is that of its nearest center, by features of the
moving average as it stood when the centers were found; generated images are asked for in the clusters of the batch's
real ones.

Networks, adversarial loss and averages are the plain GAN's; the clustered features are those of the moving average,
which are the representation. Samples have clusters as frequent as they are in the pool.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from structgan import distributed, optim
from structgan.errors import UserError
from structgan.losses import adversarial
from structgan.method import Method
from structgan.models.clusters import Clusters
from structgan.models.discriminator import Discriminator
from structgan.models.generator import ConditionalGenerator
from structgan.models.memory import ema_update_, frozen_copy
from structgan.models.spectral import spectrally_normalized


class SelfConditionedGAN(Method):
    """Real against generated within a cluster; the clusters are found anew as the features change."""

    pool: Tensor

    def __init__(self, settings: Mapping[str, Any], image_size: int, num_classes: int, steps: int) -> None:
        super().__init__(settings, image_size, num_classes, steps)
        options = settings["clustering"]
        k, pool, kmeans = options["clusters"], options["pool"], options["kmeans"]
        if pool < k:
            raise ValueError(f"clustering.pool = {pool}: must be at least clustering.clusters = {k}")
        self.discriminator = Discriminator(image_size, **settings["discriminator"], embedding=k)
        if settings["spectral_norm"]:
            spectrally_normalized(self.discriminator)
        self.generator = ConditionalGenerator(
            image_size, k, **settings["generator"], per_process=settings["per_process"]
        )
        self.discriminator_ema = frozen_copy(self.discriminator)
        self.clusterer = frozen_copy(self.discriminator)
        self.generator_ema = frozen_copy(self.generator)
        self.encoder = self.discriminator_ema.backbone
        self.clusters = Clusters(k, pool, self.encoder.features, **kmeans)
        self.register_buffer("pool", torch.zeros(pool, dtype=torch.long))  # which of the training images
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
        assert isinstance(self.generator_ema, ConditionalGenerator)
        with torch.no_grad():
            return self.generator_ema.sample(n, generator)

    @torch.no_grad()
    def recluster(self, chunk: int) -> None:
        """Cluster the pool by the features of now, ``chunk`` images at a time; at the first step, draw the pool.

        Raises:
            UserError: the pool is larger than the training set.
        """
        if self.step_index == 0:
            if len(self.pool) > len(self.images):
                raise UserError(
                    f"methods.selfcond_gan.settings.clustering.pool = {len(self.pool)}: must be at most the"
                    f" {len(self.images)} training images"
                )
            order = torch.randperm(len(self.images), generator=self.rng, device=self.rng.device)
            self.pool.copy_(order[: len(self.pool)])
        self.clusterer.load_state_dict(self.discriminator_ema.state_dict())
        images = (self.images[rows].to(self.clusters.centers) / 127.5 - 1 for rows in self.pool.split(chunk))
        self.clusters.fit(torch.cat([self.clusterer(part)[0] for part in images]), self.rng)
        for found in (self.clusters.centers, self.clusters.ids):
            found.copy_(distributed.gather(found)[: len(found)])  # process 0's, whose features may differ by rounding
        self.generator.frequency.copy_(self.clusters.counts())

    def judged(self, images: Tensor, clusters: Tensor) -> Tensor:
        """The logit of each image's own cluster. Shape: (N, 3, H, W) and (N,), to (N,)."""
        logits: Tensor = self.discriminator(images)[1]
        return logits.gather(1, clusters[:, None]).squeeze(1)

    def generate(self, clusters: Tensor) -> Tensor:
        """Images of new latents and given clusters by the generator in training. Shape: (n,) to (n, 3, H, W)."""
        images: Tensor = self.generator(self.noise(len(clusters), self.settings["generator"]["latent"]), clusters)
        return images

    def step(self, views: list[Tensor], labels: Tensor | None) -> dict[str, Tensor]:
        (real,) = views
        for name, optimizer in self.optimizers().items():
            optim.schedule(optimizer, self.settings["optimizer"][name], self.step_index, self.steps)
        if self.step_index % self.settings["clustering"]["recluster_every"] == 0:
            self.recluster(len(real))
        with torch.no_grad():
            clusters = self.clusters.nearest(self.clusterer(real)[0])
        with torch.no_grad():
            fake = self.generate(clusters)
        form = self.settings["loss"]

        logits = self.judged(torch.cat([real, fake]), clusters.repeat(2))
        loss_d = adversarial.discriminator_loss(logits[: len(real)], logits[len(real) :], form)
        optim.minimise(self.optimizer_d, loss_d)

        fake = self.generate(clusters)
        self.discriminator.requires_grad_(False)
        loss_g = adversarial.generator_loss(self.judged(fake, clusters), form)
        optim.minimise(self.optimizer_g, loss_g)
        self.discriminator.requires_grad_(True)

        ema_update_(self.discriminator_ema, self.discriminator, self.settings["ema"])
        ema_update_(self.generator_ema, self.generator, self.settings["ema"])
        occupied = torch.count_nonzero(self.generator.frequency).float()
        return {"d_adversarial": loss_d.detach(), "g_adversarial": loss_g.detach(), "clusters": occupied}
