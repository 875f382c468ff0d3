"""The representation probes of one run: frozen features in, probe.json and map.json out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from structgan.errors import UserError, unknown
from structgan.evaluation import features
from structgan.evaluation.battery import Probes
from structgan.evaluation.described import dataset_record
from structgan.files import read_json, write_json
from structgan.identity import protocol, seal
from structgan.progress import Progress

SETTINGS = ("seed", "linear", "svm", "kmeans", "kmeans_release", "knn", "few_labels", "map")
FILES = ("map.json",)
COLUMNS = [
    {
        "name": "linear",
        "path": "linear.top1",
        "label": "Linear probe, top-1",
        "unit": "%",
        "better": "higher",
        "short": "Linear",
    },
    {"name": "svm", "path": "svm.top1", "label": "Linear SVM, top-1", "unit": "%", "better": "higher", "short": "SVM"},
    {
        "name": "kmeans",
        "path": "kmeans.accuracy",
        "label": "k-means, accuracy",
        "unit": "%",
        "better": "higher",
        "short": "k-means",
    },
    {"name": "knn", "path": "knn.top1", "label": "kNN, top-1", "unit": "%", "better": "higher", "short": "kNN"},
    {
        "name": "linear_*pct",
        "path": "linear_*pct.top1",
        "label": "Linear probe, * % of the labels, top-1",
        "unit": "%",
        "better": "higher",
    },
    {
        "name": "kmeans_release",
        "path": "kmeans_release.h",
        "label": "k-means of h, accuracy",
        "unit": "%",
        "better": "higher",
    },
    {
        "name": "kmeans_release_live",
        "path": "kmeans_release.h_live",
        "label": "k-means of h, D in training, accuracy",
        "unit": "%",
        "better": "higher",
    },
    {
        "name": "kmeans_release_e",
        "path": "kmeans_release.e",
        "label": "k-means of e, accuracy",
        "unit": "%",
        "better": "higher",
    },
    {
        "name": "kmeans_release_e_live",
        "path": "kmeans_release.e_live",
        "label": "k-means of e, D in training, accuracy",
        "unit": "%",
        "better": "higher",
    },
    {
        "name": "online_probe",
        "path": "online_probe.top1",
        "label": "Online probe, top-1",
        "unit": "%",
        "better": "higher",
    },
    {
        "name": "online_probe_ema",
        "path": "online_probe.top1_ema",
        "label": "Online probe of the average, top-1",
        "unit": "%",
        "better": "higher",
    },
]

BATCH = 500
"""Images in one pass; memory only."""
MAP_KEYS = ("kind", "points", "perplexity", "iterations")


def tsne(points: NDArray[np.float32], settings: Mapping[str, Any]) -> NDArray[np.float32]:
    """scikit-learn's t-SNE from the principal components. Shape: (N, D) to (N, 2).

    The perplexity is lowered to (N - 1) / 3 where there are few points.

    Raises:
        UserError: fewer than 4 points.
    """
    from sklearn.manifold import TSNE

    if len(points) < 4:
        raise UserError(f"evaluation.map.points: t-SNE needs at least 4 points, not {len(points)}")
    if not np.ptp(points, axis=0).any():  # a collapsed encoder has no principal components, and still a figure
        return np.zeros((len(points), 2), np.float32)
    perplexity = min(settings["perplexity"], (len(points) - 1) / 3)
    model = TSNE(perplexity=perplexity, max_iter=settings["iterations"], init="pca", random_state=0)
    found: NDArray[np.float32] = model.fit_transform(points)
    return found


def pca(points: NDArray[np.float32], settings: Mapping[str, Any]) -> NDArray[np.float32]:
    """Scores on the two leading principal components. Shape: (N, D) to (N, 2), D of at least 2."""
    from sklearn.decomposition import PCA

    found: NDArray[np.float32] = PCA(n_components=2, svd_solver="full").fit_transform(points)
    return found


MAPS = {"tsne": tsne, "pca": pca}


def evaluate(
    train: Tensor,
    train_labels: Tensor,
    test: Tensor,
    test_labels: Tensor,
    settings: Mapping[str, Any],
    seed: int = 0,
    readouts: Mapping[str, Tensor] | None = None,
) -> dict[str, Any]:
    """The parts "metrics" and "protocol" of probe.json. Arguments as in ``Probes``.

    Raises:
        UserError: features that are not finite, or a k that the data set is too small for.
    """
    probes = Probes(train, train_labels, test, test_labels, settings, seed, readouts).all()
    result: dict[str, Any] = {"metrics": {}, "protocol": {}}
    with Progress("probe", len(probes), "probe") as progress:
        for name, measure in probes.items():
            result["metrics"][name], result["protocol"][name] = measure()
            scores = result["metrics"][name]
            progress.advance(1, **{name: scores.get("top1", scores.get("accuracy", scores.get("h")))})
    return result


def online(folder: Path) -> tuple[dict[str, float], dict[str, Any] | None]:
    """The last scores of the classifier that was trained beside a run's encoder, and the protocol that was asked for.

    The scores are empty where the run made no step or its images have no labels; the protocol stays, as it is the same
    for every run of a suite. It is None where no online probe was asked for.
    """
    settings = read_json(folder / "config.json")["settings"]["training"]["online_probe"]
    if settings is None:
        return {}, None
    records = read_json(folder / "history.json")["records"]
    scored = [record["losses"] for record in records if "online_top1" in record["losses"]]
    last: dict[str, float] = scored[-1] if scored else {}
    scores = {key.removeprefix("online_"): value for key, value in last.items() if key.startswith("online_top1")}
    classifier = "linear head on detached features of the augmented training images, trained beside the encoder"
    return scores, {"classifier": classifier, "split": "train→test", **settings}


def feature_map(
    test: Tensor, labels: Tensor, classes: tuple[str, ...], settings: Mapping[str, Any], seed: int = 0
) -> dict[str, Any]:
    """The content of map.json: 2-D positions of a fixed random subset of the test features, unit length each.

    Args:
        test: Shape: (N, D). labels: Shape: (N,). settings: the block "map": kind ("tsne" or "pca"), points, and
            of t-SNE perplexity and iterations.

    Raises:
        UserError: an unknown kind, or a missing key.
    """
    for key in MAP_KEYS:
        if key not in settings:
            raise UserError(f"evaluation.map.{key} is missing (needed: {', '.join(MAP_KEYS)})")
    kind = settings["kind"]
    if kind not in MAPS:
        raise unknown("map", kind, MAPS, "evaluation.map.kind")
    order = torch.randperm(len(test), generator=torch.Generator().manual_seed(seed))
    kept = order[: settings["points"]].sort().values.to(test.device)
    points = MAPS[kind](features.normalise(test[kept]).cpu().numpy(), settings)
    return {
        "kind": kind,
        "split": "test",
        "points": [[round(value, 3) for value in point] for point in points.tolist()],
        "labels": labels[kept].tolist(),
        "classes": list(classes),
    }


def run(run_dir: str | Path, data_file: str | Path, protocol_file: str | Path, device: str | None = None) -> None:
    """Probe a finished run and write its map.json and its probe.json, whose checksums name the former.

    The encoder is frozen: its hash is taken before and after the features are read; ``device`` is the best by default.

    Raises:
        UserError: a file is missing or damaged, the protocol was planned for other sources, the encoder changed, or its
            features are not finite.
    """
    from structgan import datasets, environment
    from structgan.method import load_run, published_files

    begin = time.monotonic()
    device = device or environment.best_device()
    folder, planned = Path(run_dir), protocol.read(protocol_file, "probe")
    settings, seed = planned["settings"], planned["settings"]["seed"]
    dataset = datasets.load(data_file, device, verify=True)
    method = load_run(folder, dataset.content_hash, device, companions=True)
    with features.frozen(method.encoder, f"{folder}: encoder") as digest:
        train, test = (features.extract(method.encode, split.images) for split in (dataset.train, dataset.test))
        batches = (batch.float() / 127.5 - 1 for batch in torch.split(dataset.test.images, BATCH))
        with torch.no_grad():
            parts = [method.readouts(images) for images in batches]
    readouts = {name: torch.cat([part[name].float() for part in parts]) for name in parts[0]}
    result = evaluate(train, dataset.train.labels, test, dataset.test.labels, settings, seed, readouts)
    scores, asked_for = online(folder)
    result["metrics"] |= {"online_probe": scores} if scores else {}
    result["protocol"] |= {"online_probe": asked_for} if asked_for else {}
    positions = feature_map(test, dataset.test.labels, dataset.classes, settings["map"], seed)
    record = {
        "identity": method.identity,
        "evaluation": protocol.mark(planned),
        "encoder": {
            "sha256": digest,
            "features": "output of the encoder, before any projection",
            "dim": train.shape[1],
        },
        "dataset": dataset_record(dataset),
        **result,
        "seconds": round(time.monotonic() - begin, 3),
    }
    write_json(folder / "map.json", positions)
    networks = published_files(folder, read_json(folder / "config.json")["method"])
    inputs = [path for path in networks if path.stem != "generator"]
    seal.write(folder / "probe.json", record, made=[folder / "map.json"], inputs=inputs)
