"""Segmentation and detection by linear heads on frozen feature maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torchmetrics

from structgan.datasets import scenes, voc
from structgan.datasets.annotated import Annotated
from structgan.evaluate import Job, Measured
from structgan.evaluation import dense_features, detection, segmentation
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
    by_pixel = segmentation.Fit(train.masks, len(classes) + 1, settings["segmentation"], seed)
    by_cell = detection.Fit(train, len(classes), settings["detection"], seed)
    for part, values in dense_features.batches(maps, train.images):
        by_pixel.add(part, values)
        by_cell.add(part, values)
    pixel_head, pixel_fit = by_pixel.head()
    *cell_heads, cell_fit = by_cell.heads()
    segmented, detected = segmentation.Scores(len(classes) + 1), detection.Scores()
    for part, values in dense_features.batches(maps, test.images):
        segmented.add(segmentation.predict(pixel_head, values, size).cpu(), test.masks[part].cpu())
        detected.add(detection.predict((cell_heads[0], cell_heads[1]), values, size, settings["detection"]), test, part)
    metrics = {
        **segmented.result(),
        **detected.result(),
        "miou_of_the_commonest_class": segmentation.majority(train, test, len(classes) + 1),
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
                    lambda batch: job.method.maps(batch.to(job.device))[kept], images, classes, settings, seed
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
        "normalisation": "standardised on the chosen places",
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
