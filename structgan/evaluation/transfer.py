"""Transfer of a frozen encoder to other data sets than its own: linear probe and kNN on each."""

from dataclasses import replace
from typing import Any

from structgan import datasets
from structgan.datasets import Dataset, Split
from structgan.datasets.images import scale
from structgan.errors import UserError
from structgan.evaluate import Job, Measured, describe
from structgan.evaluation import features, knn, limits, linear
from structgan.progress import Progress

SETTINGS = ("seed", "transfer", "linear", "knn")
ALSO = ("targets",)
# fmt: off
COLUMNS = [
    {"name": "*_linear", "path": "*.linear.top1", "label": "to *: linear probe, top-1",
     "unit": "%", "better": "higher"},
    {"name": "*_knn", "path": "*.knn.top1", "label": "to *: kNN, top-1", "unit": "%", "better": "higher"},
]
# fmt: on
RESIZER = "bicubic with antialias, before anything else"


def run(job: Job) -> Measured:
    """Linear probe and kNN of the frozen encoder on each target, fitted on the target's own training split."""
    metrics: dict[str, Any] = {}
    protocol: dict[str, Any] = {}
    hashes = {}
    with Progress("transfer", len(job.targets), "data set") as progress:
        for name, file in job.targets.items():
            target = datasets.load(file, verify=True)
            limits.check(job.settings, target.sizes)
            fitted = resize(target, job.dataset.image_size, job.settings["transfer"]["resize"]).to(job.device)
            data = features.read(job.method.encode, fitted)
            scored = {
                "linear": linear.logistic_regression(data, job.settings["linear"]),
                "knn": knn.classify(data, job.settings["knn"]),
            }
            metrics[name] = {probe: found[0] for probe, found in scored.items()}
            about = {**describe(target), "image_size": target.image_size}
            if fitted.image_size != target.image_size:
                about |= {"resized_to": fitted.image_size, "resizer": RESIZER}
            protocol[name] = {**{probe: found[1] for probe, found in scored.items()}, "target": about}
            hashes[name] = target.content_hash
            progress.advance(1, **{probe: found["top1"] for probe, found in metrics[name].items()})
    return Measured(metrics, protocol, {"targets": hashes})


def resize(target: Dataset, size: int, allowed: bool) -> Dataset:
    """A data set at the size that the encoder was trained at.

    Raises:
        UserError: it has another size, and resizing is not allowed.
    """
    if target.image_size == size:
        return target
    if not allowed:
        raise UserError(
            f"data set '{target.name}' has {target.image_size} pixels, the encoder was trained at {size}"
            " (evaluation.transfer.resize: true makes it fit)"
        )
    train, test = (Split(scale(split.images, size), split.labels) for split in (target.train, target.test))
    return replace(target, image_size=size, unlabelled=None, train=train, test=test)
