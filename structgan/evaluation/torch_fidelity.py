"""torch-fidelity behind one function: generated and reference images in, numbers out; and the weights of Inception."""

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch_fidelity
from torch import Tensor
from torch_fidelity.feature_extractor_base import FeatureExtractorBase

from structgan.datasets.fetch import fetch
from structgan.errors import UserError
from structgan.evaluation import extractor

# torch-fidelity 0.4.0 loads weights with weights_only=False; this makes torch load tensors only
os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
EMBEDDED = "structgan-embedded"
VERSION = f"torch-fidelity {torch_fidelity.__version__}"
URL = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
SHA256_START = "6726825d"
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

    The Inception Score uses its logits, the other metrics its penultimate features. Nothing is resized.
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


class Images(torch.utils.data.Dataset[Tensor]):
    """Images as torch-fidelity takes them. Shape: (N, 3, H, W), uint8."""

    def __init__(self, images: Tensor) -> None:
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
        generated: Shape: (N, 3, H, W), uint8.
        reference: Shape: (M, 3, H, W), uint8.
        settings: the block "fidelity" of the protocol.
        weights: file of the extractor, embedded or Inception as ``settings["extractor"]`` says.
    """
    found = torch_fidelity.calculate_metrics(
        input1=Images(generated),
        input2=Images(reference),
        feature_extractor=EMBEDDED if settings["extractor"] == "embedded" else "inception-v3-compat",
        feature_extractor_weights_path=str(weights),
        **{METRICS[metric]: True for metric in settings["metrics"]},
        isc_splits=settings["is_splits"],
        kid_subsets=settings["kid_subsets"],
        kid_subset_size=settings["kid_subset_size"],
        prc_neighborhood=settings["precision_recall_k"],
        prc_batch_size=PRC_ROWS,
        batch_size=settings["batch_size"],
        rng_seed=settings["seed"],
        cuda=device.startswith("cuda"),
        cache=False,
        save_cpu_ram=True,
        verbose=False,
    )
    return {RESULTS[key]: float(value) for key, value in found.items()}


def inception_weights(path: str | None = None) -> Path:
    """The file of Inception's weights, which is downloaded once into torch's hub cache if no path is given.

    Raises:
        UserError: the file is missing, damaged or holds more than tensors, or there is no network.
    """
    if path is None:
        try:
            return fetch(URL, SHA256_START, Path(torch.hub.get_dir()) / "checkpoints", "sha256")
        except UserError as error:
            remedy = "or set fidelity.weights to its path, or fidelity.extractor to embedded"
            raise UserError(f"{error}; {remedy}") from error
    if not Path(path).is_file():
        raise UserError(f"fidelity.weights: {path}: no such file; it should be {URL}")
    try:
        torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise UserError(f"{path}: damaged, or no file of weights; fetch it again from {URL}") from error
    return Path(path)
