"""Metrics of generated images through torch-fidelity: FID, Inception Score, KID, precision and recall."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from structgan import files
from structgan.datasets import Dataset
from structgan.errors import UserError
from structgan.evaluate import Job, Measured
from structgan.evaluation import extractor, limits, samples, torch_fidelity

SETTINGS = ("fidelity",)
FILES = ("samples.png",)
NEEDS = "sample"
ALSO = ("extractor",)
COLUMNS = [
    {"name": "fid", "path": "fid", "label": "FID", "better": "lower", "digits": 2},
    {"name": "is", "path": "is", "label": "Inception Score", "better": "higher", "digits": 2, "short": "IS"},
    {"name": "kid", "path": "kid", "label": "KID", "unit": "‰", "better": "lower", "digits": 2},
    {"name": "precision", "path": "precision", "label": "Precision", "better": "higher", "digits": 3},
    {"name": "recall", "path": "recall", "label": "Recall", "better": "higher", "digits": 3},
]
REPEATED = ("extractor", "is_splits", "kid_subset_size", "kid_subsets", "precision_recall_k", "seed")
"""Settings that the protocol of a number repeats."""


def run(job: Job) -> Measured:
    """Draw samples and measure them; writes samples.png, which has a row of real images on top."""
    settings, dataset = job.settings["fidelity"], job.dataset
    method: Any = job.method  # with a sample(), as NEEDS says
    limits.check(job.settings, dataset.sizes)
    weights, about = extractor_weights(job)
    split, reference = pick_reference(dataset, settings)
    generated = samples.draw(method, settings["n_generated"], settings["seed"], settings["batch_size"], job.device)
    metrics = torch_fidelity.measure(generated, reference, settings, weights, job.device)
    grid = samples.draw(method, samples.GRID**2, settings["seed"], samples.GRID**2, job.device)
    shown = torch.randint(len(reference), (samples.GRID,), generator=torch.Generator().manual_seed(settings["seed"]))
    samples.write_grid(grid, job.path("samples.png"), reference[shown])
    return Measured(
        metrics,
        {
            **{key: settings[key] for key in REPEATED},
            **about,
            "n_generated": len(generated),
            "n_reference": len(reference),
            "reference": split,
            "backend": torch_fidelity.VERSION,
            "dtype": "uint8",
        },
    )


def pick_reference(dataset: Dataset, settings: Mapping[str, Any]) -> tuple[str, Tensor]:
    """Name and images of the reference split; a fixed random subset where ``n_reference`` is set.

    "train" is what methods learn from: the unlabelled part of a data set that has one. Shape: (M, 3, H, W), uint8.
    """
    name, images = "test", dataset.test.images
    if settings["reference"] == "train":
        name = "train" if dataset.unlabelled is None else "unlabelled"
        images = dataset.training_images
    count = settings["n_reference"]
    if count is not None and count < len(images):
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(settings["seed"]))
        images = images[order[:count].sort().values]
    return name, images


def extractor_weights(job: Job) -> tuple[Path, dict[str, Any]]:
    """File of the feature extractor's weights, and what the protocol says of it.

    Raises:
        UserError: the file is missing or damaged, or the extractor was trained on other images or otherwise.
    """
    settings = job.settings["fidelity"]
    if settings["extractor"] == "inception":
        path = torch_fidelity.inception_weights(settings["weights"])
        return path, {"extractor_sha256": files.sha256(path), "resizer": "bilinear to 299×299 as in TensorFlow 1"}
    trained = extractor.load(job.extractor)
    if (trained.content_hash, trained.settings) != (job.dataset.content_hash, job.settings["extractor"]):
        raise UserError(f"{job.extractor}: trained on other images or with other settings than planned; delete it")
    about = {"extractor_sha256": trained.sha256, "extractor_test_accuracy": trained.test_accuracy}
    return job.extractor, {**about, "resizer": "none"}
