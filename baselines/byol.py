"""BYOL (Grill et al. 2020, arXiv 2006.07733): predict how a moving average of oneself embeds the other view.

There are no negatives: the target network is the average of the online one and takes no gradient, and only the online
side has a predictor. The decay of the average rises to 1 along a cosine. Loss, heads and schedule are lightly's.

The batch norms of both projectors normalize by the batch, as in the paper: averages are in evaluation mode here, so the
projectors keep no running statistics, and the target's sees the rows of all processes. Their last layer has no bias, as
in the authors' release: the predictor's batch norm hides it from the online loss, so that Adam would move it by
rounding errors, and the targets with it. The predictor's last layer has a bias, as lightly's; the release's has none.

With ``norm: batch`` the encoder sees both views at once, and the target's encoder normalizes by the running statistics
of the online one, much as in EMAN (Cai et al. 2021, arXiv 2101.08482). The authors pass each view alone, and their
target normalizes by the batch.
"""

from collections.abc import Mapping
from typing import Any

import torch
from lightly.loss import NegativeCosineSimilarity
from lightly.models.modules.heads import BYOLPredictionHead, ProjectionHead
from lightly.utils.scheduler import cosine_schedule
from torch import Tensor, nn

from structgan import distributed, optim
from structgan.method import Method
from structgan.models import encoder
from structgan.models.memory import ema_update_, frozen_copy
from structgan.precision import exact


class BYOL(Method):
    """Regression onto a momentum target, both ways."""

    views = 2

    def __init__(self, settings: Mapping[str, Any], image_size: int, num_classes: int, steps: int) -> None:
        super().__init__(settings, image_size, num_classes, steps)
        hidden, output = settings["head_hidden"], settings["head_output"]
        self.encoder = encoder.build(image_size, **settings["encoder"])
        first = (self.encoder.features, hidden, nn.BatchNorm1d(hidden, track_running_stats=False), nn.ReLU())
        self.projector = ProjectionHead([first, (hidden, output, None, None, False)])
        self.predictor = BYOLPredictionHead(output, settings["predictor_hidden"], output)
        self.optimizer = optim.build(self.parameters(), settings["optimizer"])
        self.target_encoder = frozen_copy(self.encoder)
        self.target_projector = frozen_copy(self.projector)
        self.criterion = NegativeCosineSimilarity()

    def collapse_vectors(self, images: Tensor) -> dict[str, Tensor]:
        features = self.encode(images)
        return {"features": features, "embeddings": self.projector(features)}

    def regression(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The squared distance of the unit vectors, 2 - 2 cos, mean over images (Eq. 2). Shape: both (N, C)."""
        return 2 + 2 * exact(self.criterion)(prediction, target)

    @torch.no_grad()
    def targets(self, views: list[Tensor]) -> list[Tensor]:
        """The target network's embeddings of each view. Shape: (N, 3, H, W) each to (N, C) each."""
        features = self.target_encoder(torch.cat(views)).chunk(2)
        return [distributed.shard(exact(self.target_projector)(distributed.gather(view))) for view in features]

    def step(self, views: list[Tensor], labels: Tensor | None) -> dict[str, Tensor]:
        optim.schedule(self.optimizer, self.settings["optimizer"], self.step_index, self.steps)
        features = self.encoder(torch.cat(views)).chunk(2)
        first, second = (exact(self.predictor)(exact(self.projector)(view)) for view in features)
        target_of_first, target_of_second = self.targets(views)
        loss = self.regression(first, target_of_second) + self.regression(second, target_of_first)
        optim.minimize(self.optimizer, loss)
        decay = cosine_schedule(self.step_index, self.steps, **self.settings["ema"])
        ema_update_(self.target_encoder, self.encoder, decay)
        ema_update_(self.target_projector, self.projector, decay)
        return {"regression": loss.detach()}
