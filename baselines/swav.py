"""SwAV (Caron et al. 2020, arXiv 2006.09882), two crops: the code of one view is predicted from the other view.

A code is the soft assignment of an embedding to prototypes on the unit sphere, which Sinkhorn's iterations make equally
large over a batch; the swapped prediction is a cross-entropy. Loss, Sinkhorn and head are lightly's, in float32 at any
precision of the run. Embeddings of earlier images join the iterations (the paper's queue; here the structural GAN's
memory bank, which holds pairs: the two views of an image). The prototypes are a linear layer without bias, as in the
paper (lightly's has one), of unit length before each step. They stay fixed in the first ``frozen_steps``, in which they
would collapse onto each other.

Two kinds of collapse end the run: assignments that are alike for all images, which the loop looks for in
``collapse_vectors``, and a loss that stays at ln K, the loss of uniform predictions, for ``stuck.steps`` steps.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from lightly.loss import SwaVLoss
from lightly.models.modules import SwaVProjectionHead
from torch import Tensor, nn

from structgan import distributed, optim
from structgan.errors import UserError
from structgan.method import Method
from structgan.models import encoder
from structgan.models.memory import MemoryBank
from structgan.precision import exact


class SwAV(Method):
    """Swapped prediction of Sinkhorn codes."""

    views = 2
    stuck: Tensor

    def __init__(self, settings: Mapping[str, Any], image_size: int, num_classes: int, steps: int) -> None:
        super().__init__(settings, image_size, num_classes, steps)
        self.encoder = encoder.build(image_size, **settings["encoder"])
        length = settings["head_output"]
        self.head = SwaVProjectionHead(self.encoder.features, settings["head_hidden"], length)
        self.prototypes = nn.Linear(length, settings["prototypes"], bias=False)
        self.queue = MemoryBank(settings["queue_size"], length, length)
        self.register_buffer("stuck", torch.zeros((), dtype=torch.long))
        sinkhorn = settings["sinkhorn"]
        self.criterion = SwaVLoss(settings["temperature"], sinkhorn["iterations"], sinkhorn["epsilon"])
        self.optimizer = optim.build(self.parameters(), settings["optimizer"])

    def embed(self, features: Tensor) -> Tensor:
        """Unit vectors. Shape: (N, D) to (N, C)."""
        return F.normalize(exact(self.head)(features), dim=1)

    def collapse_vectors(self, images: Tensor) -> dict[str, Tensor]:
        """Features, embeddings, and the predicted assignments, shape (N, K).

        Raises:
            UserError: the loss stays at ln K.
        """
        options, number = self.settings["stuck"], self.settings["prototypes"]
        stuck = int(self.stuck)
        if stuck >= options["steps"]:
            raise UserError(
                f"methods.swav: collapsed: at step {self.step_index + 1} the loss has been within"
                f" {options['tolerance']:g} of ln({number}) = {math.log(number):.3f} for {stuck} steps"
                f" (stuck.steps = {options['steps']}); a smaller sinkhorn.epsilon, for sharper codes, may help"
            )
        features = self.encode(images)
        embeddings = self.embed(features)
        assignments = (self.prototypes(embeddings) / self.settings["temperature"]).softmax(1)
        return {"features": features, "embeddings": embeddings, "assignments": assignments}

    def swapped_prediction(self, first: Tensor, second: Tensor) -> Tensor:
        """-1/2 sum over both directions of q log softmax(z C / t), q the code of the other view (Eq. 1 and 2).

        Shape: the embeddings of both views, (N, C) each; a scalar.
        """
        logits = [self.prototypes(z) for z in (first, second)]
        queued = None
        pushed = self.step_index * len(first)  # before, the queue holds random vectors
        if self.queue.size and self.step_index >= self.settings["queue_from_step"] and pushed >= self.queue.size:
            queued = [self.prototypes(z) for z in (self.queue.features, self.queue.embeddings)]
        return self.criterion(logits, [], queued).squeeze(0)

    def step(self, views: list[Tensor], labels: Tensor | None) -> dict[str, Tensor]:
        optim.schedule(self.optimizer, self.settings["optimizer"], self.step_index, self.steps)
        with torch.no_grad():
            self.prototypes.weight.copy_(F.normalize(self.prototypes.weight, dim=1))
        embeddings = self.embed(self.encoder(torch.cat(views))).chunk(2)
        first, second = map(distributed.gather, embeddings)
        loss = exact(self.swapped_prediction)(first, second)
        optim.gradients(self.optimizer, loss)
        if self.step_index < self.settings["frozen_steps"]:
            self.prototypes.zero_grad(set_to_none=True)  # the optimizer skips what has no gradient
        self.optimizer.step()
        self.queue.push(first.detach(), second.detach())
        distance = (loss.detach() - math.log(self.settings["prototypes"])).abs()
        self.stuck.copy_((self.stuck + 1) * (distance <= self.settings["stuck"]["tolerance"]))
        return {"swapped_prediction": loss.detach()}
