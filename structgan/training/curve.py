"""A run's learning curve: its encoder is probed at steps N, N/2, N/4 and so on, N being the last.

The protocol: h of ``encoder`` (the moving average where there is one), in evaluation mode and in the precision of
training, of a fixed random part of the training split and of the test split, not augmented. Features are standardized
on train. A multinomial logistic regression with an L2 penalty (``FIT``) is fitted on train by L-BFGS, and scored on
test. The classifier and C are the same for all methods and steps, and nothing is selected by a score.

A probe draws no random numbers and leaves weights and buffers as they are: a run is the same with and without it. Where
several processes share a run, each computes the whole probe. Its time is not training time.
"""

import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from structgan.datasets import Dataset, Split
from structgan.errors import UserError
from structgan.evaluation import features, linear
from structgan.method import Method
from structgan.training import monitor, online_probe

FIT: dict[str, Any] = {"loss": "softmax", "C": 0.1, "max_iter": 100, "tol": 1e-3}
"""C is sklearn's, of a sum over samples: lower than the tables' probe has, for there are fewer samples."""


class Curve:
    """The probes of one run.

    ``dataset`` is on ``device``. ``training`` are the run's settings: their block ``curve`` has the number of
    ``points``, and how many images are read of ``train`` and ``test``; a split with fewer is read whole.

    Attributes:
        steps: those that are probed: N / 2^i, rounded, for i < ``points``, distinct and at least 1. There are none
            where the block is null or the method is not trained.
    """

    def __init__(self, method: Method, dataset: Dataset, training: Mapping[str, Any], device: str) -> None:
        self.method, self.dataset, self.training, self.device = method, dataset, training, device
        points = training["curve"]["points"] if training["curve"] else 0
        self.steps = {round(training["steps"] / 2**i) for i in range(points)} - {0}

    def top1(self) -> float:
        """Accuracy of the probe on test, in [0, 1]; refused if a feature is not finite."""

        def encode(images: Tensor) -> Tensor:
            return online_probe.features(self.method.encoder, images, self.training["precision"], self.device)

        sizes = self.training["curve"]
        learned, held_out = part(self.dataset.train, sizes["train"]), part(self.dataset.test, sizes["test"])
        train, test = features.standardize(*(features.extract(encode, one.images) for one in (learned, held_out)))
        model = linear.fit(train, learned.labels, len(self.dataset.classes), **FIT)
        return features.accuracy(model.predict(test), held_out.labels)

    def measure(self, history: monitor.History, step: int, begin: float) -> float:
        """Add a point to the history of a training that began at ``begin``; return the seconds that it took."""
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()  # what is still computed is training
        now = time.monotonic()
        history.means(step)  # refuses a loss that is not finite, by its name
        try:
            history.add_point(step, now - begin, self.top1())
        except UserError as error:
            raise UserError(f"{history.run}: step {step}: {error}; {monitor.KEPT}") from error
        return time.monotonic() - now


def part(split: Split, count: int) -> Split:
    """``count`` images of a split, always the same, drawn at random: the split may be sorted by class.

    A split that has no more is returned whole.
    """
    if len(split) <= count:
        return split
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(0))
    kept = order[:count].sort().values.to(split.images.device)
    return Split(split.images[kept], split.labels[kept])
