"""Self-conditioned GAN (Liu et al. 2020, arXiv 2006.10728): class-conditional, with clusters of its own as the classes.

At regular steps k-means clusters a pool of training images by the discriminator's features, and the clusters keep their
ids. The generator receives a cluster beside its latent. The discriminator has a logit for each cluster, and an image is
judged by that of its own. A real image belongs to the nearest center, by features of the moving average as it was when
the centers were found; as many images are generated of each cluster as the batch has real ones of it.

Networks, adversarial loss and averages are the plain GAN's; the clustered features are those of the moving average,
which are the representation. Samples have clusters as frequent as they are in the pool. The authors cluster the
flattened last map and give both players one latent; here it is the pooled map, and each player draws its own.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from structgan import distributed, optim
from structgan.errors import UserError
from structgan.gan import GAN
from structgan.losses import adversarial
from structgan.models.clusters import Clusters
from structgan.models.discriminator import Discriminator
from structgan.models.generator import ConditionalGenerator
from structgan.models.memory import frozen_copy


class SelfConditionedGAN(GAN):
    """Real against generated within a cluster; the clusters are found again as the features change."""

    pool: Tensor
    generator: ConditionalGenerator
    generator_ema: ConditionalGenerator

    def __init__(self, settings: Mapping[str, Any], image_size: int, num_classes: int, steps: int) -> None:
        k, pool = settings["clustering"]["clusters"], settings["clustering"]["pool"]
        if pool < k:
            raise ValueError(f"clustering.pool = {pool}: must be at least clustering.clusters = {k}")
        super().__init__(settings, image_size, num_classes, steps)
        self.clusters = Clusters(k, pool, self.encoder.features, **settings["clustering"]["kmeans"])
        self.register_buffer("pool", torch.zeros(pool, dtype=torch.long))  # which of the training images

    def build_discriminator(self) -> None:
        k = self.settings["clustering"]["clusters"]
        self.discriminator = Discriminator(self.image_size, **self.settings["discriminator"], embedding=k)

    def build_generator(self) -> None:
        k, options = self.settings["clustering"]["clusters"], self.settings["generator"]
        self.generator = ConditionalGenerator(self.image_size, k, **options, per_process=self.settings["per_process"])

    def build_averages(self) -> None:
        self.discriminator_ema = frozen_copy(self.discriminator)
        self.clusterer = frozen_copy(self.discriminator)  # the average as it was when the centers were found
        self.generator_ema = frozen_copy(self.generator)

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return self.generator_ema.sample(n, generator)

    @torch.no_grad()
    def recluster(self, chunk: int) -> None:
        """Cluster the pool by the current features, ``chunk`` images at a time; at the first step, draw the pool.

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
        self.schedule()
        if self.step_index % self.settings["clustering"]["recluster_every"] == 0:
            self.recluster(len(real))
        with torch.no_grad():
            clusters = self.clusters.nearest(self.clusterer(real)[0])
            fake = self.generate(clusters)
        of_real, of_fake = self.judged(torch.cat([real, fake]), clusters.repeat(2)).chunk(2)
        loss_d = adversarial.discriminator_loss(of_real, of_fake, self.settings["loss"])
        optim.minimize(self.optimizer_d, loss_d)

        fake = self.generate(clusters)
        self.discriminator.requires_grad_(False)
        loss_g = adversarial.generator_loss(self.judged(fake, clusters), self.settings["loss"])
        optim.minimize(self.optimizer_g, loss_g)
        self.discriminator.requires_grad_(True)

        self.update_averages()
        occupied = torch.count_nonzero(self.generator.frequency).float()
        return {"d_adversarial": loss_d.detach(), "g_adversarial": loss_g.detach(), "clusters": occupied}
