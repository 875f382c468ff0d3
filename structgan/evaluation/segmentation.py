"""Segmentation by a linear head on frozen maps: a class for each pixel, scored by the mean intersection over union."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassJaccardIndex

from structgan.datasets.annotated import IGNORED, Annotated
from structgan.evaluation import dense_features


class Scores:
    """Intersection over union of each class, background among them, from the pixels of all images together.

    As Pascal VOC scores it; a class that is neither there nor predicted is 0 in ``iou`` and left out of the mean.
    """

    def __init__(self, classes: int, device: torch.device | str = "cpu") -> None:
        of: dict[str, Literal["macro", "none"]] = {"miou": "macro", "by_class": "none"}
        self.metric = MetricCollection(
            {name: MulticlassJaccardIndex(classes, average=kind, ignore_index=IGNORED) for name, kind in of.items()}
        ).to(device)

    def add(self, predicted: Tensor, masks: Tensor) -> None:
        """Shape: (n, H, W) both; classes, and in ``masks`` also ``IGNORED``."""
        self.metric.update(predicted, masks.long())

    def result(self) -> dict[str, Any]:
        """``miou`` and ``iou`` by class, in [0, 1]."""
        found = self.metric.compute()
        return {"miou": float(found["miou"]), "iou": [float(value) for value in found["by_class"]]}


class Fit:
    """Gathers features at chosen pixels of the training images, then fits the head.

    Args:
        masks: of the training images. Shape: (N, H, W), uint8.
        classes: with the background.
        settings: ``places`` (pixels to fit on), C, max_iter and tol.
    """

    def __init__(self, masks: Tensor, classes: int, settings: Mapping[str, Any], seed: int) -> None:
        self.masks, self.classes, self.settings = masks, classes, settings
        self.size = (masks.shape[1], masks.shape[2])
        self.chosen = dense_features.choose(masks, settings["places"], IGNORED, torch.Generator().manual_seed(seed))
        self.parts: list[Tensor] = []

    def add(self, part: slice, values: list[Tensor]) -> None:
        """Take the features of the images ``part`` from their maps."""
        area = self.size[0] * self.size[1]
        inside = self.chosen[(self.chosen >= part.start * area) & (self.chosen < part.stop * area)].to(values[0].device)
        self.parts.append(dense_features.read(values, self.size, inside // area - part.start, inside % area))

    def head(self) -> tuple[dense_features.Head, dict[str, Any]]:
        """The head, and how its fit went."""
        x, flat = torch.cat(self.parts), self.masks.reshape(-1).cpu()
        counts = torch.bincount(flat[flat != IGNORED].long(), minlength=self.classes).double().to(x.device)
        return dense_features.classifier(x, flat[self.chosen].long().to(x.device), counts, self.settings)


def predict(head: dense_features.Head, values: list[Tensor], size: tuple[int, int]) -> Tensor:
    """The class with the highest score at each pixel. Shape: maps to (n, H, W), int64."""
    return head.scores(values, size).argmax(dim=1)


def majority(train: Annotated, test: Annotated, classes: int) -> float:
    """mIoU of predicting the commonest class everywhere: what a head that sees nothing reaches."""
    flat = train.masks[train.masks != IGNORED]
    commonest = int(torch.bincount(flat.long(), minlength=classes).argmax())
    scores = Scores(classes)
    scores.add(torch.full_like(test.masks, commonest, dtype=torch.int64), test.masks)
    return float(scores.result()["miou"])
