"""torch-fidelity behind one function: generated and reference images in, numbers out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch_fidelity
from numpy.typing import NDArray
from torch import Tensor
from torch_fidelity import metric_fid, metric_isc, metric_kid, metric_prc, utils
from torch_fidelity.feature_extractor_base import FeatureExtractorBase

from structgan.evaluation import extractor

# torch-fidelity 0.4.0 loads weights with weights_only=False; this makes torch load tensors only
os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
EMBEDDED = "structgan-embedded"
VERSION = f"torch-fidelity {torch_fidelity.__version__}"
PRC_ROWS = 1000
"""Rows of one block of distances: with torch-fidelity's 10,000 a block of 50,000 samples has 2 GB."""
METRICS = {"fid": "fid", "is": "isc", "kid": "kid", "prc": "prc"}
"""Our names of the metrics and torch-fidelity's."""
RESULTS = {
    "frechet_inception_distance": "fid",
    "inception_score_mean": "is",
    "inception_score_std": "is_std",
    "kernel_inception_distance_mean": "kid",
    "kernel_inception_distance_std": "kid_std",
    "precision": "precision",
    "recall": "recall",
    "f_score": "f_score",
}
"""torch-fidelity's keys and ours."""


class EmbeddedExtractor(FeatureExtractorBase):  # type: ignore[misc]
    """The embedded classifier behind torch-fidelity's interface.

    FID, KID and precision/recall use the penultimate features, the Inception Score the logits. Images are uint8
    and of the size that the classifier was trained on; nothing is resized.
    """

    def __init__(self, name: str, features_list: list[str], feature_extractor_weights_path: str, **_: Any) -> None:
        super().__init__(name, features_list)
        self.network = extractor.load(feature_extractor_weights_path).network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Shape: (N, 3, H, W) uint8 → the requested layers, (N, D) float32 each."""
        features, logits = self.network(images.float() / 127.5 - 1)
        layers = {"features": features, "logits": logits}
        return tuple(layers[name] for name in self.features_list)

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        return "features", "logits"

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        return "logits" if metric == "isc" else "features"

    @staticmethod
    def can_be_compiled() -> bool:
        return False


torch_fidelity.register_feature_extractor(EMBEDDED, EmbeddedExtractor)


class Statistics:
    """Mean and covariance of features in batches, in float64, for FID.

    Sums are relative to the first batch's mean, so that a large mean loses no precision.
    """

    def __init__(self) -> None:
        self.count = 0
        self.origin = self.total = self.products = torch.empty(0)

    def add(self, features: Tensor) -> None:
        """Shape: (n, D)."""
        batch = features.double()
        if not self.count:
            self.origin = batch.mean(dim=0)
            self.total = torch.zeros_like(self.origin)
            self.products = batch.new_zeros(batch.shape[1], batch.shape[1])
        batch = batch - self.origin
        self.count += len(batch)
        self.total += batch.sum(dim=0)
        self.products.addmm_(batch.T, batch)

    def result(self) -> dict[str, NDArray[np.float64]]:
        """As torch-fidelity has them: ``mu`` (D,) and the unbiased ``sigma`` (D, D)."""
        mean = self.total / self.count
        sigma = (self.products - self.count * torch.outer(mean, mean)) / (self.count - 1)
        return {"mu": (self.origin + mean).cpu().numpy(), "sigma": sigma.cpu().numpy()}


@torch.no_grad()
def read(
    network: FeatureExtractorBase, images: Tensor, keep: set[str], layer: str | None, batch_size: int, device: str
) -> tuple[dict[str, Tensor], Statistics]:
    """Features of uint8 images, batch by batch.

    Args:
        images: Shape: (N, 3, H, W). keep: layers whose features are kept. layer: whose statistics are taken, if any.

    Returns:
        Each kept layer's features on the CPU, (N, D), and the statistics.

    Raises:
        ValueError: the images are not uint8 of that shape.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"images must be uint8 (N, 3, H, W), not {images.dtype} {tuple(images.shape)}")
    statistics, kept, first = Statistics(), dict[str, Tensor](), 0
    for batch in torch.split(images, batch_size):
        found = network.convert_features_tuple_to_dict(network(batch.to(device)))
        if layer is not None:
            statistics.add(found[layer])
        for name in keep:
            part = found[name].cpu()
            kept.setdefault(name, part.new_empty(len(images), part.shape[1]))[first : first + len(part)] = part
        first += len(batch)
    return kept, statistics


def measure(
    generated: Tensor, reference: Tensor, settings: Mapping[str, Any], weights: str | Path, device: str = "cpu"
) -> dict[str, float]:
    """The metrics of generated images against reference ones; nothing is cached.

    FID takes running statistics. Features are kept only for the metrics that need all of them.

    Args:
        generated: Shape: (N, 3, H, W), uint8. reference: Shape: (M, 3, H, W), uint8.
        settings: the block "fidelity" of the protocol.
        weights: file of the extractor, embedded or Inception as ``settings["extractor"]`` says.
    """
    name = EMBEDDED if settings["extractor"] == "embedded" else "inception-v3-compat"
    options = {
        "feature_extractor": name,
        "feature_extractor_weights_path": str(weights),
        "isc_splits": settings["is_splits"],
        "kid_subsets": settings["kid_subsets"],
        "kid_subset_size": settings["kid_subset_size"],
        "prc_neighborhood": settings["precision_recall_k"],
        "prc_batch_size": PRC_ROWS,
        "rng_seed": settings["seed"],
        "save_cpu_ram": True,
        "verbose": False,
    }
    asked = [METRICS[metric] for metric in settings["metrics"]]
    layers = {metric: utils.resolve_feature_layer_for_metric(metric, **options) for metric in asked}
    network = utils.create_feature_extractor(name, sorted(set(layers.values())), device.startswith("cuda"), **options)
    # the Inception Score looks at the generated images alone
    pairs = {layers[metric] for metric in asked if metric in ("kid", "prc")}
    sides = ((generated, pairs | {layers[metric] for metric in asked if metric == "isc"}), (reference, pairs))
    (one, stat_one), (two, stat_two) = (
        read(network, images, keep, layers.get("fid"), settings["batch_size"], device) for images, keep in sides
    )
    found: dict[str, float] = {}
    if "isc" in asked:
        found |= metric_isc.isc_featuresdict_to_metric(one, layers["isc"], **options)
    if "fid" in asked:
        found |= metric_fid.fid_statistics_to_metric(stat_one.result(), stat_two.result(), verbose=False)
    if "kid" in asked:
        found |= metric_kid.kid_featuresdict_to_metric(one, two, layers["kid"], **options)
    if "prc" in asked:
        found |= metric_prc.prc_featuresdict_to_metric(one, two, layers["prc"], **options)
    return {RESULTS[key]: float(value) for key, value in found.items()}
