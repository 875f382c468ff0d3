"""SimCLR (Chen et al. 2020, arXiv 2002.05709): two views of an image agree, all others in the batch differ.

The encoder is the backbone of the structural GAN's discriminator, as in every row of a table. The projection head is
lightly's; the loss equals lightly's in value and gradient, but does not wait for the GPU.
"""

from collections.abc import Mapping
from typing import Any

import torch
from lightly.models.modules import SimCLRProjectionHead
from torch import Tensor

from structgan import distributed, optim
from structgan.losses import contrastive
from structgan.method import Method
from structgan.models import encoder
from structgan.precision import exact


class SimCLR(Method):
    """NT-Xent on two augmented views."""

    views = 2

    def __init__(self, settings: Mapping[str, Any], image_size: int, num_classes: int, steps: int) -> None:
        super().__init__(settings, image_size, num_classes, steps)
        self.encoder = encoder.build(image_size, **settings["encoder"])
        self.head = SimCLRProjectionHead(self.encoder.features, settings["head_hidden"], settings["head_output"])
        self.optimizer = optim.build(self.parameters(), settings["optimizer"])

    def step(self, views: list[Tensor], labels: Tensor | None) -> dict[str, Tensor]:
        optim.schedule(self.optimizer, self.settings["optimizer"], self.step_index, self.steps)
        projections = exact(self.head)(self.encoder(torch.cat(views)))
        first, second = map(distributed.gather, projections.chunk(2))
        loss = contrastive.nt_xent(first, second, self.settings["temperature"])
        optim.minimize(self.optimizer, loss)
        return {"nt_xent": loss.detach()}
