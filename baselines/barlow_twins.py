"""Barlow Twins (Zbontar et al. 2021, arXiv 2103.03230): the embeddings of two views correlate as the identity does.

The correlation over the batch between the two views' embeddings is 1 on the diagonal (invariance) and 0 off it (no
redundancy between dimensions). Loss and head are lightly's. The head's last layer has no bias, as in the authors'
release: the loss does not depend on it, and Adam would move it by rounding errors. Batch norms of the head see one view
at a time, as the authors'; those of an encoder with ``norm: batch`` see both, where the authors' see one.
"""

from collections.abc import Mapping
from typing import Any

import torch
from lightly.loss import BarlowTwinsLoss
from lightly.models.modules.heads import ProjectionHead
from torch import Tensor, nn

from structgan import distributed, optim
from structgan.method import Method
from structgan.models import encoder
from structgan.precision import exact


class BarlowTwins(Method):
    """Redundancy reduction on two augmented views."""

    views = 2

    def __init__(self, settings: Mapping[str, Any], image_size: int, num_classes: int, steps: int) -> None:
        super().__init__(settings, image_size, num_classes, steps)
        self.encoder = encoder.build(image_size, **settings["encoder"])
        inputs, hidden, output = self.encoder.features, settings["head_hidden"], settings["head_output"]
        layers = [(width, hidden, nn.BatchNorm1d(hidden), nn.ReLU()) for width in (inputs, hidden)]
        self.head = ProjectionHead([*layers, (hidden, output, None, None, False)])
        self.criterion = BarlowTwinsLoss(settings["off_diagonal"])
        self.optimizer = optim.build(self.parameters(), settings["optimizer"])

    def step(self, views: list[Tensor], labels: Tensor | None) -> dict[str, Tensor]:
        optim.schedule(self.optimizer, self.settings["optimizer"], self.step_index, self.steps)
        embeddings = [exact(self.head)(view) for view in self.encoder(torch.cat(views)).chunk(2)]
        loss = self.settings["loss_scale"] * exact(self.criterion)(*map(distributed.gather, embeddings))
        optim.minimize(self.optimizer, loss)
        return {"cross_correlation": loss.detach()}
