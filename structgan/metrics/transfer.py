"""Transfer of one run's frozen encoder to other data sets: linear probe and kNN on each, transfer.json."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from structgan.datasets import Dataset
from structgan.datasets.images import scale
from structgan.errors import UserError
from structgan.identity import protocol, seal
from structgan.metrics import features
from structgan.metrics.battery import Probes
from structgan.metrics.described import dataset_record
from structgan.progress import Progress

PROBES = ("linear", "knn")
RESIZED = "bicubic with antialias, before anything else"


def fitting(target: Dataset, size: int, resize: bool) -> Dataset:
    """A data set at the size that the encoder was trained at.

    Raises:
        UserError: it has another size, and ``resize`` is not asked for.
    """
    if target.image_size == size:
        return target
    if not resize:
        raise UserError(
            f"data set '{target.name}' has {target.image_size} pixels, the encoder was trained at {size}"
            " (evaluation.transfer.resize: true makes it fit)"
        )
    splits = {name: getattr(target, name) for name in ("train", "test")}
    scaled = {name: replace(split, images=scale(split.images, size)) for name, split in splits.items()}
    return replace(target, image_size=size, unlabelled=None, **scaled)


def run(
    run_dir: str | Path,
    data_file: str | Path,
    target_files: Iterable[str | Path],
    protocol_file: str | Path,
    device: str | None = None,
) -> None:
    """Probe a finished run's encoder on other data sets and write its transfer.json.

    The encoder is frozen: its hash is taken before and after the features are read. Each probe is fitted on the
    target's own training split; the run's own data set only says which images the encoder has seen.

    Raises:
        UserError: a file is missing or damaged, the protocol was planned for other sources or other targets, a target
            has another image size, the encoder changed, or its features are not finite.
    """
    from structgan import datasets, environment
    from structgan.method import load_run

    begin = time.monotonic()
    device = device or environment.best_device()
    folder, planned = Path(run_dir), protocol.read(protocol_file, "transfer")
    settings, seed = planned["settings"], planned["settings"]["seed"]
    dataset = datasets.load(data_file)
    method = load_run(folder, dataset.content_hash, device)
    targets = [datasets.load(file, verify=True) for file in target_files]
    asked, given = settings["transfer"]["targets"].get(dataset.name, []), [target.name for target in targets]
    if asked != given:
        raise UserError(f"{protocol_file}: '{dataset.name}' is to be transferred to {asked}, not to {given}")
    metrics: dict[str, dict[str, Any]] = {}
    told: dict[str, dict[str, Any]] = {}
    with (
        features.frozen(method.encoder, f"{folder}: encoder") as digest,
        Progress("transfer", len(targets), "data set") as progress,
    ):
        for target in targets:
            fitted = fitting(target, dataset.image_size, settings["transfer"]["resize"]).to(device)
            train, test = (features.extract(method.encode, split.images) for split in (fitted.train, fitted.test))
            metrics[target.name], told[target.name] = evaluate(
                Probes(train, fitted.train.labels, test, fitted.test.labels, settings, seed)
            )
            told[target.name] |= described(target, dataset.image_size)
            progress.advance(1, **{name: metrics[target.name][name]["top1"] for name in PROBES})
    record = {
        "identity": method.identity,
        "evaluation": protocol.mark(planned),
        "targets": {target.name: target.content_hash for target in targets},
        "encoder": {
            "sha256": digest,
            "features": "output of the encoder, before any projection",
            "dim": train.shape[1],
        },
        "dataset": dataset_record(dataset),
        "metrics": metrics,
        "protocol": told,
        "seconds": round(time.monotonic() - begin, 3),
    }
    seal.write(folder / "transfer.json", record, inputs=[folder / "encoder.safetensors"])


def evaluate(probes: Probes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metrics and protocol of each of ``PROBES``."""
    measured = {"linear": probes.linear(), "knn": probes.knn()}
    return {name: found[0] for name, found in measured.items()}, {name: found[1] for name, found in measured.items()}


def described(target: Dataset, size: int) -> Mapping[str, Any]:
    """What a number says of the data set that it was measured on."""
    resized = {"resized_to": size, "resizer": RESIZED} if target.image_size != size else {}
    return {"target": {**dataset_record(target), "image_size": target.image_size, **resized}}
