"""Segmentation and detection by linear heads on frozen feature maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
import torchmetrics
from torch import Tensor
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassJaccardIndex

from structgan.datasets import scenes, voc
from structgan.datasets.annotated import IGNORED, Annotated
from structgan.evaluate import Job, Measured
from structgan.evaluation import dense_features, detection
from structgan.progress import Progress

SETTINGS = ("seed", "dense")
ALSO = ("raw",)
COLUMNS = [
    {"name": "*_miou", "path": "*.miou", "label": "*: segmentation, mIoU", "unit": "%", "better": "higher"},
    {"name": "*_map", "path": "*.map", "label": "*: detection, mAP", "unit": "%", "better": "higher"},
    {"name": "*_map50", "path": "*.map50", "label": "*: detection, mAP at IoU 0.5", "unit": "%", "better": "higher"},
]

Pair = tuple[Annotated, Annotated]
IMAGES: dict[str, tuple[tuple[str, ...], Callable[[Mapping[str, Any], Path], Pair]]] = {
    "scenes": (scenes.CLASSES, lambda settings, raw: scenes.build(settings)),
    "voc": (voc.CLASSES, voc.build),
}
"""Kinds of images: their classes, and what builds train and test from their settings and the folder of raw files."""
MAPS = {"all": "the last map of every stage, resampled to one grid and concatenated", "last": "the last stage's map"}


def evaluate(
    maps: dense_features.Maps, images: Pair, classes: tuple[str, ...], settings: Mapping[str, Any], seed: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metrics and protocol of both tasks on one kind of images.

    Args:
        maps: of the frozen encoder.
        images: train and test, on the encoder's device.
        classes: their names.
        settings: the blocks ``segmentation`` and ``detection``.
        seed: draws the places that the heads are fitted on.

    Raises:
        UserError: a feature is NaN or infinite.
    """
    train, test = images
    size = (test.images.shape[2], test.images.shape[3])
    pixels = dense_features.Gathered(train.masks, size, settings["segmentation"]["places"], seed)
    cells = detection.Fit(train, len(classes), settings["detection"], seed)
    for part, values in dense_features.batches(maps, train.images):
        pixels.add(part, values)
        cells.gathered.add(part, values)
    pixel_head, pixel_fit = pixels.head(len(classes) + 1, settings["segmentation"])
    *cell_heads, cell_fit = cells.heads()
    segmented, detected = SegmentationScores(len(classes) + 1), detection.Scores()
    for part, values in dense_features.batches(maps, test.images):
        segmented.add(pixel_head.scores(values, size).argmax(dim=1).cpu(), test.masks[part].cpu())
        detected.add(detection.predict((cell_heads[0], cell_heads[1]), values, size, settings["detection"]), test, part)
    metrics = {
        **segmented.result(),
        **detected.result(),
        "miou_of_the_commonest_class": majority(train, test, len(classes) + 1),
        "segmentation_fit": pixel_fit,
        "detection_fit": cell_fit,
    }
    return metrics, {
        "split": "train→test",
        "n_train": len(train),
        "n_test": len(test),
        "boxes_train": len(train.labels),
        "boxes_test": len(test.labels),
        "classes": len(classes),
        "image_size": size[0],
        "train_sha256": train.digest(),
        "test_sha256": test.digest(),
    }


def run(job: Job) -> Measured:
    """Both tasks on every kind of images. A method without feature maps gets no number and a reason."""
    settings, seed = job.settings["dense"], job.settings["seed"]
    kept = slice(None) if settings["maps"] == "all" else slice(-1, None)
    metrics: dict[str, Any] = {}
    protocol: dict[str, Any] = {}
    with Progress("dense", len(settings["images"]), "source") as progress:
        for name, asked in settings["images"].items():
            classes, build = IMAGES[name]
            images = build(asked, job.raw)
            try:
                metrics[name], sizes = evaluate(
                    lambda batch: job.method.feature_maps(batch.to(job.device))[kept], images, classes, settings, seed
                )
            except NotImplementedError as error:
                return Measured({}, {}, {"reason": str(error)})
            protocol[name] = {**describe_heads(settings, seed), **sizes}
            progress.advance(1, **{key: metrics[name][key] for key in ("miou", "map50")})
    return Measured(metrics, protocol, {"reason": ""})


def describe_heads(settings: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """What the protocol says of both heads and their metrics."""
    return {
        "maps": MAPS[settings["maps"]],
        "normalization": "standardized on the chosen places",
        "seed": seed,
        "segmentation": {
            "head": "1×1 convolution: multinomial logistic regression, L2, half of the places on objects, intercepts"
            " corrected for it",
            "metric": f"mIoU over all pixels, background among the classes, torchmetrics {torchmetrics.__version__}",
            **settings["segmentation"],
        },
        "detection": {
            "head": "each cell: class as in segmentation, edges of the box by ridge regression",
            "metric": f"COCO AP, difficult boxes as crowd, torchmetrics {torchmetrics.__version__} with"
            f" {detection.BACKEND}",
            **settings["detection"],
        },
    }


class SegmentationScores:
    """Intersection over union of each class, background included, over the pixels of all images, as in Pascal VOC.

    A class that neither occurs nor is predicted is 0 in ``iou`` and left out of the mean.
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


def majority(train: Annotated, test: Annotated, classes: int) -> float:
    """mIoU of predicting the most common class everywhere."""
    flat = train.masks[train.masks != IGNORED]
    commonest = int(torch.bincount(flat.long(), minlength=classes).argmax())
    scores = SegmentationScores(classes)
    scores.add(torch.full_like(test.masks, commonest, dtype=torch.int64), test.masks)
    return float(scores.result()["miou"])
