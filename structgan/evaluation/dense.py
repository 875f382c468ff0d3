"""Segmentation and detection by linear heads on frozen feature maps."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
import torchmetrics
from torch import Tensor
from torchmetrics.classification import MulticlassJaccardIndex
from torchmetrics.detection import MeanAveragePrecision

from structgan.datasets import scenes, voc
from structgan.datasets.annotated import IGNORED, Annotated
from structgan.errors import UserError
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
BACKEND: Literal["pycocotools"] = "pycocotools"


def run(job: Job) -> Measured:
    """Both tasks on every kind of images. A method without feature maps gets no number and a reason."""
    settings, seed = job.settings["dense"], job.settings["seed"]
    kept = slice(None) if settings["maps"] == "all" else slice(-1, None)
    metrics: dict[str, Any] = {}
    protocol: dict[str, Any] = {}

    def maps(images: Tensor) -> list[Tensor]:
        return job.method.feature_maps(images.to(job.device))[kept]

    try:
        next(dense_features.batches(maps, job.dataset.test.images[:1]))
    except NotImplementedError as error:
        return Measured({}, {}, {"reason": str(error)})
    with Progress("dense", len(settings["images"]), "source") as progress:
        for name, asked in settings["images"].items():
            classes, build = IMAGES[name]
            metrics[name], sizes = evaluate(maps, build(asked, job.raw), classes, settings, seed)
            protocol[name] = {**describe_heads(settings, seed), **sizes}
            progress.advance(1, **{key: metrics[name][key] for key in ("miou", "map50")})
    return Measured(metrics, protocol, {"reason": ""})


def evaluate(
    maps: dense_features.Maps, images: Pair, classes: tuple[str, ...], settings: Mapping[str, Any], seed: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metrics and protocol of both tasks on one kind of images.

    Args:
        maps: of the frozen encoder.
        images: train and test, on the CPU.
        classes: their names.
        settings: the blocks ``segmentation`` and ``detection``.
        seed: draws the places that the heads are fitted on.

    Raises:
        UserError: a feature is NaN or infinite, or no box counts.
    """
    train, test = images
    of_pixels, of_cells, known = settings["segmentation"], settings["detection"], len(classes) + 1
    size = (test.images.shape[2], test.images.shape[3])
    grid, centers = detection.grid(size, of_cells["stride"])
    labels, distances = detection.targets(train, centers, of_cells["middle"])
    pixels = dense_features.Gathered(train.masks, size, of_pixels["places"], seed)
    cells = dense_features.Gathered(labels, grid, of_cells["places"], seed)
    for part, values in dense_features.batches(maps, train.images):
        pixels.add(part, values)
        cells.add(part, values)
    pixel_head, pixel_fit = pixels.head(known, of_pixels)
    cell_head, cell_fit = cells.head(known, of_cells)
    edge_head = detection.edge_head(cells, distances, of_cells["ridge"])

    predicted, average_precision = [], MeanAveragePrecision(backend=BACKEND)
    for part, values in dense_features.batches(maps, test.images):
        predicted.append(pixel_head.scores(values, size).argmax(dim=1).to(torch.uint8).cpu())
        found = detection.predict(cell_head, edge_head, values, size, of_cells)
        average_precision.update(found, detection.truth(test, part))
    precision = average_precision.compute()
    if precision["map"] < 0:  # COCO's answer where no box counts
        raise UserError("dense detection: the test images have no box that counts")
    commonest = int(torch.bincount(train.masks[train.masks != IGNORED].long()).argmax())
    metrics = {
        **segmentation(torch.cat(predicted), test.masks, known),
        "map": float(precision["map"]),
        "map50": float(precision["map_50"]),
        "miou_of_the_commonest_class": segmentation(torch.full_like(test.masks, commonest), test.masks, known)["miou"],
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


def segmentation(predicted: Tensor, masks: Tensor, classes: int) -> dict[str, Any]:
    """Intersection over union over the pixels of all images, background included, as in Pascal VOC, in [0, 1].

    Args:
        predicted: Shape: (N, H, W).
        masks: the same with the true classes and ``IGNORED``.

    Returns:
        ``iou`` by class, and their mean ``miou``. A class that neither occurs nor is predicted is 0 in ``iou`` and left
        out of the mean.
    """
    of: dict[str, Literal["macro", "none"]] = {"miou": "macro", "iou": "none"}
    metrics = {key: MulticlassJaccardIndex(classes, average=kind, ignore_index=IGNORED) for key, kind in of.items()}
    return {key: metric(predicted.long(), masks.long()).tolist() for key, metric in metrics.items()}


def describe_heads(settings: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """What the protocol says of both heads and their metrics."""
    return {
        "maps": MAPS[settings["maps"]],
        "normalization": "standardized on the chosen places",
        "seed": seed,
        "segmentation": {
            "head": "1×1 convolution: multinomial logistic regression, L2, half of the places on objects"
            " if there are enough, intercepts corrected for it",
            "metric": f"mIoU over all pixels, background among the classes, torchmetrics {torchmetrics.__version__}",
            **settings["segmentation"],
        },
        "detection": {
            "head": "each cell: class as in segmentation, edges of the box by ridge regression",
            "metric": f"COCO AP, difficult boxes as crowd, torchmetrics {torchmetrics.__version__} with {BACKEND}",
            **settings["detection"],
        },
    }
