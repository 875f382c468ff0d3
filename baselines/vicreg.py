"""VICReg (Bardes et al. 2022, arXiv 2105.04906): variance, invariance and covariance of the embeddings of two views.

The views' embeddings are close, each dimension keeps a standard deviation of 1 over the batch, and no two dimensions
vary together. The loss is lightly's, which halves the variance term as the authors' release does (the paper's
pseudocode does not). The expander is lightly's without the last bias, as in that release: the loss does not depend on
it, and Adam would move it by rounding errors. Batch norms of the head see one view at a time, as the authors'; those of
an encoder with ``norm: batch`` see both, where the authors' see one.
"""

from collections.abc import Mapping
from typing import Any

import torch
from lightly.loss import VICRegLoss
from lightly.models.modules.heads import ProjectionHead
from torch import Tensor, nn

from structgan import distributed, optim
from structgan.method import Method
from structgan.models import encoder
from structgan.precision import exact


class VICReg(Method):
    """Variance-invariance-covariance regularization on two augmented views."""

    views = 2

    def __init__(self, settings: Mapping[str, Any], image_size: int, num_classes: int, steps: int) -> None:
        super().__init__(settings, image_size, num_classes, steps)
        self.encoder = encoder.build(image_size, **settings["encoder"])
        inputs, hidden, output = self.encoder.features, settings["head_hidden"], settings["head_output"]
        layers = [(width, hidden, nn.BatchNorm1d(hidden), nn.ReLU()) for width in (inputs, hidden)]
        self.head = ProjectionHead([*layers, (hidden, output, None, None, False)])
        self.criterion = VICRegLoss(*(settings["weights"][key] for key in ("invariance", "variance", "covariance")))
        self.optimizer = optim.build(self.parameters(), settings["optimizer"])

    def step(self, views: list[Tensor], labels: Tensor | None) -> dict[str, Tensor]:
        optim.schedule(self.optimizer, self.settings["optimizer"], self.step_index, self.steps)
        embeddings = [exact(self.head)(view) for view in self.encoder(torch.cat(views)).chunk(2)]
        loss = exact(self.criterion)(*map(distributed.gather, embeddings))
        optim.minimize(self.optimizer, loss)
        return {"vicreg": loss.detach()}
