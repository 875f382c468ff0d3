"""A linear classifier trained beside a method, as the release of the structural GAN has it.

It reads detached features of the augmented training images of each step, before the method's update: labels reach the
classifier and nothing else, and a run's weights are the same with and without it. (GenRep's update has generated images
instead.) Features have the precision of training, and their time counts as training time. Where the encoder is a moving
average, the classifier learns on the network in training and an average of its own weights is scored with the average.
Scores are top-1 on the whole test split. Nothing is selected by them.
"""

import copy
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from structgan import optim, precision
from structgan.datasets import Dataset
from structgan.method import Method
from structgan.models.memory import ema_update_
from structgan.models.spectral import cached_spectral_norm
from structgan.training import processes

CHUNK = 500
"""Test images in one pass."""


@torch.no_grad()
def features(network: nn.Module, images: Tensor, precision_name: str, device: str) -> Tensor:
    """h of a network in evaluation mode, so that no batch norm moves. Shape: (N, 3, H, W) to (N, D), float32."""
    mode = network.training
    with cached_spectral_norm(network.eval()), precision.autocast(precision_name, device):
        found: Tensor = network(images)
    network.train(mode)
    return found.float()


class OnlineProbe:
    """The classifier of one run on a data set whose training images have labels.

    ``training`` are the run's settings: their block ``online_probe`` has ``every``, ``ema`` and ``optimizer``. ``seed``
    decides the first weights.
    """

    def __init__(self, method: Method, dataset: Dataset, training: Mapping[str, Any], device: str, seed: int) -> None:
        self.method, self.test, self.device = method, dataset.test, device
        self.settings, self.precision = training["online_probe"], training["precision"]
        length = self.features(method.live_encoder, dataset.test.images[:1].float() / 127.5 - 1).shape[1]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.head = nn.Linear(length, len(dataset.classes)).to(device)
        self.average = copy.deepcopy(self.head).requires_grad_(False)
        self.optimizer = optim.build(self.head.parameters(), self.settings["optimizer"])
        processes.wrap(self.head, {"head": self.optimizer})

    def features(self, network: nn.Module, images: Tensor) -> Tensor:
        """``features`` in the precision of the run."""
        return features(network, images, self.precision, self.device)

    def update(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """One step of the classifier on a batch before the method's own; its loss and accuracy, as scalars.

        Shape: (N, 3, H, W), values in [-1, 1], and (N,).
        """
        logits = self.head(self.features(self.method.live_encoder, images))
        loss = F.cross_entropy(logits, labels)
        optim.minimize(self.optimizer, loss)
        ema_update_(self.average, self.head, self.settings["ema"])
        correct = (logits.detach().argmax(1) == labels).float().mean()
        return {"online_loss": loss.detach(), "online_train_top1": correct}

    def due(self, step: int, before: int, steps: int) -> dict[str, float]:
        """``score`` at the first log since a multiple of ``every``, and at the last; nothing at other logs.

        ``step`` is that of this log, ``before`` that of the log before it, or 0.
        """
        every = self.settings["every"]
        return self.score() if step == steps or step // every > before // every else {}

    @torch.no_grad()
    def score(self) -> dict[str, float]:
        """Top-1 on the test split, in [0, 1]: of the network in training, and of the average where there is one."""
        pairs = {"online_top1": (self.method.live_encoder, self.head)}
        if self.method.live_encoder is not self.method.encoder:
            pairs["online_top1_ema"] = (self.method.encoder, self.average)
        found = {}
        for name, (network, head) in pairs.items():
            chunks = torch.split(self.test.images, CHUNK)
            predicted = [head(self.features(network, images.float() / 127.5 - 1)).argmax(1) for images in chunks]
            found[name] = float((torch.cat(predicted) == self.test.labels).double().mean())
        return found

    def state(self) -> dict[str, Any]:
        """All of it, for the state file."""
        return {name: getattr(self, name).state_dict() for name in ("head", "average", "optimizer")}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Put back what ``state`` gave."""
        for name, value in saved.items():
            getattr(self, name).load_state_dict(value)
