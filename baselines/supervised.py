"""Supervised reference row: the same encoder trained with the labels, for what it can learn."""

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from structgan import optim
from structgan.method import Method
from structgan.models import encoder
from structgan.precision import exact


class Supervised(Method):
    """Cross-entropy on the training labels."""

    uses_labels = True

    def __init__(self, settings: Mapping[str, Any], image_size: int, num_classes: int, steps: int) -> None:
        super().__init__(settings, image_size, num_classes, steps)
        self.encoder = encoder.build(image_size, **settings["encoder"])
        self.classifier = nn.Linear(self.encoder.features, num_classes)
        self.optimizer = optim.build(self.parameters(), settings["optimizer"])

    def step(self, views: list[Tensor], labels: Tensor | None) -> dict[str, Tensor]:
        assert labels is not None
        optim.schedule(self.optimizer, self.settings["optimizer"], self.step_index, self.steps)
        logits = exact(self.classifier)(self.encoder(views[0]))
        loss = F.cross_entropy(logits, labels)
        optim.minimize(self.optimizer, loss)
        return {"cross_entropy": loss.detach(), "train_accuracy": (logits.argmax(1) == labels).float().mean()}
