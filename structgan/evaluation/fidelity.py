"""Generation metrics of one run through torch-fidelity: FID, Inception Score, KID, precision and recall."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from structgan import files
from structgan.errors import UserError, unknown
from structgan.evaluation import backend, extractor, inception, samples
from structgan.evaluation.described import dataset_record
from structgan.identity import protocol, seal

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

KEYS = (
    "extractor", "weights", "n_generated", "n_reference", "batch_size", "reference", "kid_subset_size", "kid_subsets",
    "is_splits", "precision_recall_k", "metrics", "seed",
)  # fmt: skip
CHOICES = {"extractor": ("embedded", "inception"), "reference": ("train", "test")}


def check(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The block "fidelity" of the protocol, checked.

    Raises:
        UserError: an unknown or missing key, an unknown choice or metric, or a count that is not positive.
    """
    for key in settings:
        if key not in KEYS:
            raise unknown("key", key, KEYS, "fidelity")
    for key in KEYS:
        if key not in settings:
            raise UserError(f"fidelity.{key} is missing (needed: {', '.join(KEYS)})")
    resolved = dict(settings)
    for key, allowed in CHOICES.items():
        if resolved[key] not in allowed:
            raise unknown(key, str(resolved[key]), allowed, f"fidelity.{key}")
    for metric in resolved["metrics"]:
        if metric not in backend.METRICS:
            raise unknown("metric", str(metric), backend.METRICS, "fidelity.metrics")
    if not resolved["metrics"]:
        raise UserError(f"fidelity.metrics: is empty (allowed: {', '.join(backend.METRICS)})")
    counts = ("n_generated", "batch_size", "kid_subset_size", "kid_subsets", "is_splits", "precision_recall_k")
    for key in (*counts, *(("n_reference",) if resolved["n_reference"] is not None else ())):
        if isinstance(resolved[key], bool) or not isinstance(resolved[key], int) or resolved[key] < 1:
            raise UserError(f"fidelity.{key}: {resolved[key]!r} is not a positive whole number")
    return resolved


def check_sizes(settings: Mapping[str, Any], n_reference: int) -> None:
    """That there are enough images for each metric asked for.

    Raises:
        UserError: names the setting, its value and the largest allowed one.
    """
    n_generated, metrics = settings["n_generated"], settings["metrics"]
    fewest = min(n_generated, n_reference)
    have = f"{n_generated} generated and {n_reference} reference images"
    if settings["n_reference"] is not None and settings["n_reference"] > n_reference:
        raise UserError(
            f"fidelity.n_reference: {settings['n_reference']} is more than the split has (at most {n_reference})"
        )
    if "kid" in metrics and settings["kid_subset_size"] > fewest:
        raise UserError(
            f"fidelity.kid_subset_size: {settings['kid_subset_size']} is too large for {have} (at most {fewest})"
        )
    if "kid" in metrics and settings["kid_subset_size"] < 2:
        raise UserError("fidelity.kid_subset_size: 1 is too small (at least 2)")
    if "is" in metrics and settings["is_splits"] > n_generated:
        raise UserError(f"fidelity.is_splits: {settings['is_splits']} is too large for {have} (at most {n_generated})")
    if "prc" in metrics and settings["precision_recall_k"] >= fewest:
        k = settings["precision_recall_k"]
        raise UserError(f"fidelity.precision_recall_k: {k} is too large for {have} (at most {fewest - 1})")
    if "fid" in metrics and fewest < 2:
        raise UserError(f"fidelity.n_generated: {have} are too few for FID (at least 2 of each)")


def pick_reference(dataset: Any, settings: Mapping[str, Any]) -> tuple[str, Tensor]:
    """Name and images of the reference split, a fixed random subset where ``n_reference`` is set.

    "train" is what methods learn from: the unlabelled part of a data set that has one. Shape: (M, 3, H, W), uint8.
    """
    if settings["reference"] == "test":
        name, images = "test", dataset.test.images
    else:
        name = "train" if dataset.unlabelled is None else "unlabelled"
        images = dataset.training_images
    check_sizes(settings, len(images))
    count = settings["n_reference"]
    if count is not None and count < len(images):
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(settings["seed"]))
        images = images[order[:count].sort().values]
    return name, images


def pick_weights(
    settings: Mapping[str, Any], extractor_file: str | Path | None, dataset: Any, trained_as: Mapping[str, Any]
) -> tuple[Path, dict[str, Any]]:
    """File of the extractor's weights, and what the protocol says of it.

    Raises:
        UserError: the file is missing or damaged, or was trained on another data set or with other settings than
            ``trained_as``.
    """
    if settings["extractor"] == "inception":
        path = inception.weights(settings["weights"])
        return path, {"extractor_sha256": files.sha256(path), "resizer": "bilinear to 299×299 as in TensorFlow 1"}
    if extractor_file is None:
        raise UserError("fidelity.extractor: 'embedded' needs a trained extractor file")
    trained = extractor.load(extractor_file)
    if trained.content_hash != dataset.content_hash:
        raise UserError(
            f"{extractor_file}: was trained on another '{trained.dataset}' than this data file; train it again"
        )
    if trained.settings != extractor.check(trained_as):
        raise UserError(f"{extractor_file}: was trained with other settings than planned; train it again")
    about = {"extractor_test_accuracy": trained.test_accuracy, "resizer": "none"}
    return Path(extractor_file), {"extractor_sha256": trained.sha256, **about}


def run(
    run_dir: str | Path,
    data_file: str | Path,
    protocol_file: str | Path,
    extractor_file: str | Path | None = None,
    device: str | None = None,
) -> None:
    """Draw samples of a finished run, measure them, and write its fidelity.json and samples.png.

    ``device`` is the best one by default.

    Raises:
        UserError: the method does not generate, a file is missing or damaged, a setting does not fit the data, or the
            protocol was planned for other sources.
    """
    from structgan import datasets, environment
    from structgan.method import load_run

    begin = time.monotonic()
    folder, planned = Path(run_dir), protocol.read(protocol_file, "fidelity")
    settings = check(planned["settings"].get("fidelity", {}))
    dataset = datasets.load(data_file, verify=True)
    weights, about = pick_weights(settings, extractor_file, dataset, planned["settings"].get("extractor", {}))
    split, reference = pick_reference(dataset, settings)
    device = device or environment.best_device()
    method: Any = load_run(folder, dataset.content_hash, device)
    if not hasattr(method, "sample"):
        raise UserError(f"{folder}: this method has no sample(): there is nothing to measure")
    generated = samples.draw(method, settings["n_generated"], settings["seed"], settings["batch_size"], device)
    metrics = backend.measure(generated, reference, settings, weights, device)
    grid = samples.draw(method, samples.GRID**2, settings["seed"], samples.GRID**2, device)
    samples.write_grid(grid, folder / "samples.png")
    record = {
        "identity": method.identity,
        "evaluation": protocol.mark(planned),
        "metrics": metrics,
        "protocol": {
            "extractor": settings["extractor"],
            **about,
            "n_generated": len(generated),
            "n_reference": len(reference),
            "reference": split,
            "backend": backend.VERSION,
            "dtype": "uint8",
            **{
                key: settings[key]
                for key in ("is_splits", "kid_subset_size", "kid_subsets", "precision_recall_k", "seed")
            },
        },
        "dataset": dataset_record(dataset),
        "seconds": round(time.monotonic() - begin, 3),
    }
    inputs = [folder / "encoder.safetensors", folder / "generator.safetensors"]
    seal.write(folder / "fidelity.json", record, made=[folder / "samples.png"], inputs=inputs)
