"""torch-fidelity behind one function: generated and reference images in, numbers out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch_fidelity
from torch import Tensor
from torch.utils.data import Dataset
from torch_fidelity.feature_extractor_base import FeatureExtractorBase

from structgan.metrics import extractor

# torch-fidelity 0.4.0 loads weights with weights_only=False; with this, torch loads nothing but tensors, whoever asks
os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
EMBEDDED = "structgan-embedded"
VERSION = f"torch-fidelity {torch_fidelity.__version__}"
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
    """The embedded classifier as torch-fidelity wants it.

    FID, KID and precision/recall use the penultimate features, the Inception Score the logits. Images are taken as they
    are, uint8 and of the size that the classifier was trained on; nothing is resized.
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


class Images(Dataset[Tensor]):
    """uint8 images as single tensors: what torch-fidelity accepts as an input. Shape: (N, 3, H, W)."""

    def __init__(self, images: Tensor) -> None:
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images must be uint8 (N, 3, H, W), not {images.dtype} {tuple(images.shape)}")
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.images[index]


def measure(
    generated: Tensor, reference: Tensor, settings: Mapping[str, Any], weights: str | Path, device: str = "cpu"
) -> dict[str, float]:
    """The metrics of generated images against reference ones; nothing is cached.

    Args:
        generated: Shape: (N, 3, H, W), uint8. reference: Shape: (M, 3, H, W), uint8.
        settings: as ``fidelity.check`` returns them.
        weights: file of the extractor, embedded or Inception as ``settings["extractor"]`` says.
    """
    name = EMBEDDED if settings["extractor"] == "embedded" else "inception-v3-compat"
    found = torch_fidelity.calculate_metrics(
        input1=Images(generated.cpu()),
        input2=Images(reference.cpu()),
        feature_extractor=name,
        feature_extractor_weights_path=str(weights),
        **{METRICS[metric]: True for metric in settings["metrics"]},
        batch_size=settings["batch_size"],
        isc_splits=settings["is_splits"],
        kid_subsets=settings["kid_subsets"],
        kid_subset_size=settings["kid_subset_size"],
        prc_neighborhood=settings["precision_recall_k"],
        rng_seed=settings["seed"],
        cuda=device.startswith("cuda"),
        cache=False,
        save_cpu_ram=True,  # loads in this process: four workers cost more than they bring for tensors in memory
        verbose=False,
    )
    return {RESULTS[key]: float(value) for key, value in found.items()}
