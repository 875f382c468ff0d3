"""The embedded feature extractor: a small classifier of a data set's own labels, for metrics without a download.

Distances in its feature space compare methods on one data set and nothing else, so every number names its hash.
Settings: width (channels), epochs over the train split, batch_size, lr (peak of AdamW's one-cycle schedule), seed, and
shift (largest random translation in pixels, the only augmentation).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from structgan import files, provenance
from structgan.errors import UserError
from structgan.evaluation.features import accuracy, module_hash
from structgan.models.classifier import Classifier
from structgan.progress import Progress

FORMAT = "structgan-extractor-1"


@dataclass(frozen=True)
class Extractor:
    """A trained classifier in evaluation mode.

    Attributes:
        network: returns (features, logits) of images in [-1, 1].
        sha256: hash of its weights and buffers.
        test_accuracy: on the data set's test split, in [0, 1].
        content_hash: of the data that it was trained on.
        settings: as given to ``train``.
    """

    network: Classifier
    sha256: str
    test_accuracy: float
    content_hash: str
    settings: Mapping[str, Any]


def train(data: Path, protocol: Path, out: Path, device: str = "cpu") -> dict[str, str]:
    """Train a classifier on the train split and write it to ``out`` with its metadata; returns the metadata.

    The number of epochs is fixed: test labels only measure the final accuracy.

    Raises:
        UserError: the protocol was planned for other sources, the data file is damaged, or the loss is not finite.
    """
    from structgan import datasets

    planned = provenance.read_protocol(protocol)
    if planned["evaluation"] != "extractor":
        raise UserError(f"{protocol}: the protocol of '{planned['evaluation']}', not of 'extractor'")
    settings = planned["settings"]["extractor"]
    dataset = datasets.load(data, device, verify=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings["seed"])
        network = Classifier(dataset.image_size, len(dataset.classes), settings["width"])
    network.to(device)
    _fit(network, dataset.train.images, dataset.train.labels, settings)
    network.eval().requires_grad_(False)
    metadata = {
        "format": FORMAT,
        "sha256": module_hash(network),
        "test_accuracy": repr(accuracy(classify(network, dataset.test.images), dataset.test.labels)),
        "image_size": str(dataset.image_size),
        "classes": str(len(dataset.classes)),
        "dataset": dataset.name,
        "content_hash": dataset.content_hash,
        "settings": json.dumps(settings, sort_keys=True),
        **provenance.mark(planned),
    }
    files.save_tensors(out, network.state_dict(), metadata)
    return metadata


def _fit(network: Classifier, images: Tensor, labels: Tensor, settings: Mapping[str, Any]) -> None:
    """AdamW on a one-cycle schedule, label smoothing 0.1, random translations."""
    n, batch_size = len(images), min(settings["batch_size"], len(images))
    steps = n // batch_size
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings["lr"], weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings["lr"], total_steps=settings["epochs"] * steps)
    generator = torch.Generator().manual_seed(settings["seed"])
    network.train()
    with Progress("extractor", settings["epochs"] * steps) as progress:
        for _ in range(settings["epochs"]):
            order = torch.randperm(n, generator=generator).to(images.device)
            for batch in torch.split(order, batch_size)[:steps]:
                views = shifted(images[batch], settings["shift"], generator).float() / 127.5 - 1
                _, logits = network(views.contiguous(memory_format=torch.channels_last))
                loss = F.cross_entropy(logits, labels[batch], label_smoothing=0.1)
                if not torch.isfinite(loss):
                    raise UserError(f"extractor: the loss is {loss.item()} at step {progress.done}; lower extractor.lr")
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
                progress.advance(1, loss=loss.item())


def shifted(images: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Each image moved by its own random whole pixels, at most ``most`` each way; borders are repeated.

    Shape: (N, 3, H, W), any dtype.
    """
    n, _, height, width = images.shape
    move = torch.randint(-most, most + 1, (2, n, 1), generator=generator).to(images.device)
    rows = (torch.arange(height, device=images.device) + move[0]).clamp_(0, height - 1)  # (N, H)
    columns = (torch.arange(width, device=images.device) + move[1]).clamp_(0, width - 1)  # (N, W)
    sample = torch.arange(n, device=images.device)[:, None, None]
    return images.permute(0, 2, 3, 1)[sample, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


@torch.no_grad()
def classify(network: Classifier, images: Tensor, batch_size: int = 500) -> Tensor:
    """Predicted classes of uint8 images. Shape: (N, 3, H, W) → (N,)."""
    parts = [network(batch.float() / 127.5 - 1)[1].argmax(dim=1) for batch in torch.split(images, batch_size)]
    return torch.cat(parts)


def load(path: str | Path) -> Extractor:
    """Load what ``train`` wrote, on the CPU, and check its hash.

    Raises:
        UserError: the file is missing, damaged, or not an extractor.
    """
    tensors, metadata = files.load_tensors(path)
    if metadata.get("format") != FORMAT:
        raise UserError(f"{path}: not an extractor (format '{metadata.get('format')}' instead of '{FORMAT}')")
    settings, sha256 = json.loads(metadata["settings"]), metadata["sha256"]
    network = Classifier(int(metadata["image_size"]), int(metadata["classes"]), settings["width"])
    network.load_state_dict(tensors)
    network.eval().requires_grad_(False)
    if module_hash(network) != sha256:
        raise UserError(f"{path}: damaged, its weights do not have the hash that was written with them")
    return Extractor(network, sha256, float(metadata["test_accuracy"]), metadata["content_hash"], settings)
