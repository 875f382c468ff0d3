"""GenRep (Jahanian et al. 2021, arXiv 2106.05258): contrastive learning on the images of a frozen generator.

Real images enter only through the generator of the upstream run. An anchor is G(w), w ~ N(0, I); its positive is the
image of a neighboring latent, G(w + std n), n ~ N(0, I), the paper's Gaussian walk. Both are rounded to 8 bits, like
images sampled to disk, and then augmented as the run says. Loss and projection head are SimCLR's.

Chosen here, where the release is silent: images are new at each step and not from a fixed set, so that each step pays
for the generator, too; and latents are not truncated, because the generators of this suite are trained and measured
without truncation.
"""

from collections.abc import Mapping
from typing import Any

import torch
from lightly.models.modules import SimCLRProjectionHead
from torch import Tensor

from structgan import distributed, optim
from structgan.errors import UserError
from structgan.losses import contrastive
from structgan.method import Method
from structgan.models import encoder
from structgan.models.generator import Generator
from structgan.precision import exact


class GenRep(Method):
    """NT-Xent on the images of neighboring latents of another run's generator."""

    uses_generator = True

    def __init__(self, settings: Mapping[str, Any], image_size: int, num_classes: int, steps: int) -> None:
        super().__init__(settings, image_size, num_classes, steps)
        self.encoder = encoder.build(image_size, **settings["encoder"])
        self.head = SimCLRProjectionHead(self.encoder.features, settings["head_hidden"], settings["head_output"])
        self.optimizer = optim.build(self.parameters(), settings["optimizer"])

    def attach(self, upstream: Method) -> None:
        if not isinstance(upstream.sampler, Generator):
            raise UserError(
                f"methods.genrep.upstream: the generator of {type(upstream).__name__}, a"
                f" {type(upstream.sampler).__name__}, is no map of one latent w to an image (needed: a Generator)"
            )
        super().attach(upstream)

    def step(self, views: list[Tensor], labels: Tensor | None) -> dict[str, Tensor]:
        (real,) = views  # only its size counts
        optim.schedule(self.optimizer, self.settings["optimizer"], self.step_index, self.steps)
        pair = [self.transform(images).to(real) for images in self.positives(len(real))]
        projections = exact(self.head)(self.encoder(torch.cat(pair)))
        first, second = map(distributed.gather, projections.chunk(2))
        loss = contrastive.nt_xent(first, second, self.settings["temperature"])
        optim.minimize(self.optimizer, loss)
        return {"nt_xent": loss.detach()}

    @torch.no_grad()
    def positives(self, n: int) -> tuple[Tensor, Tensor]:
        """Images of n latents w and of their neighbors w + std n. Shape: both (n, 3, H, W), uint8 in 0..255."""
        assert self.upstream is not None
        generator = self.upstream.sampler
        latents = self.noise(n, generator.latent)
        neighbors = latents + self.settings["latent_std"] * self.noise(n, generator.latent)
        images = exact(generator)(torch.cat([latents, neighbors]))
        first, second = ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).chunk(2)
        return first, second
