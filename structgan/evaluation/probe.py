"""Probes of frozen features: linear classifiers, k-means, nearest neighbors; and the map of the test split.

A new probe is an entry in ``probes``, a column and, if it has settings, the name of their block in ``SETTINGS``.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from structgan import files
from structgan.evaluate import Job, Measured
from structgan.evaluation import features, kmeans, knn, limits, linear
from structgan.evaluation.feature_map import feature_map
from structgan.evaluation.features import Features, Scored
from structgan.progress import Progress

SETTINGS = ("seed", "linear", "svm", "kmeans", "kmeans_release", "knn", "few_labels", "map")
FILES = ("map.json",)
# fmt: off
COLUMNS = [
    {"name": "linear", "path": "linear.top1", "label": "Linear probe, top-1",
     "unit": "%", "better": "higher", "short": "Linear"},
    {"name": "svm", "path": "svm.top1", "label": "Linear SVM, top-1", "unit": "%", "better": "higher", "short": "SVM"},
    {"name": "kmeans", "path": "kmeans.accuracy", "label": "k-means, accuracy",
     "unit": "%", "better": "higher", "short": "k-means"},
    {"name": "knn", "path": "knn.top1", "label": "kNN, top-1", "unit": "%", "better": "higher", "short": "kNN"},
    {"name": "linear_*pct", "path": "linear_*pct.top1", "label": "Linear probe, * % of the labels, top-1",
     "unit": "%", "better": "higher"},
    {"name": "kmeans_release", "path": "kmeans_release.h", "label": "k-means of h, accuracy",
     "unit": "%", "better": "higher"},
    {"name": "kmeans_release_live", "path": "kmeans_release.h_live", "label": "k-means of h, D in training, accuracy",
     "unit": "%", "better": "higher"},
    {"name": "kmeans_release_e", "path": "kmeans_release.e", "label": "k-means of e, accuracy",
     "unit": "%", "better": "higher"},
    {"name": "kmeans_release_e_live", "path": "kmeans_release.e_live", "label": "k-means of e, D in training, accuracy",
     "unit": "%", "better": "higher"},
    {"name": "online_probe", "path": "online_probe.top1", "label": "Online probe, top-1",
     "unit": "%", "better": "higher"},
    {"name": "online_probe_ema", "path": "online_probe.top1_ema", "label": "Online probe of the average, top-1",
     "unit": "%", "better": "higher"},
]
# fmt: on


def run(job: Job) -> Measured:
    """All probes of a run's frozen features; writes map.json."""
    settings, dataset = job.settings, job.dataset.to(job.device)
    limits.check(settings, dataset.sizes)
    data = features.read(job.method.encode, dataset)
    result = evaluate(data, settings, readouts(job, dataset.test.images))
    scores, asked = online_probe(job)
    positions = feature_map(data.test, data.test_labels, dataset.classes, settings["map"], settings["seed"])
    files.write_json(job.path("map.json"), positions)
    more = {"feature_dim": data.train.shape[1]}
    return Measured({**result.metrics, **scores}, {**result.protocol, **asked}, more)


def probes(
    data: Features, settings: Mapping[str, Any], readouts: Mapping[str, Tensor] | None = None
) -> dict[str, Callable[[], Scored]]:
    """Every probe by its key in ``metrics``; each returns its metrics and its protocol.

    Args:
        settings: the blocks that ``SETTINGS`` names. ``seed`` draws starts of k-means and labelled subsets; it belongs
            to the protocol and not to the run.
        readouts: what the release clusters, on test. Shape of each: (N, D), float32.
    """
    return {
        "linear": lambda: linear.logistic_regression(data, settings["linear"]),
        "svm": lambda: linear.svm(data, settings["svm"]),
        "kmeans": lambda: cluster(data, settings["kmeans"], settings["seed"]),
        "knn": lambda: knn.classify(data, settings["knn"]),
        **({"kmeans_release": lambda: cluster_release(data, settings, readouts)} if readouts else {}),
        **{
            f"linear_{100 * share:g}pct": partial(linear.few_labels, data, settings["linear"], share, settings["seed"])
            for share in settings["few_labels"]["fractions"]
        },
    }


def evaluate(data: Features, settings: Mapping[str, Any], readouts: Mapping[str, Tensor] | None = None) -> Measured:
    """Metrics and protocol of all ``probes``."""
    metrics: dict[str, Any] = {}
    protocol: dict[str, Any] = {}
    found = probes(data, settings, readouts)
    with Progress("probe", len(found), "probe") as progress:
        for name, measure in found.items():
            metrics[name], protocol[name] = measure()
            score = next((metrics[name][key] for key in ("top1", "accuracy", "h") if key in metrics[name]), "done")
            progress.advance(1, **{name: score})
    return Measured(metrics, protocol)


def cluster(data: Features, settings: Mapping[str, Any], seed: int) -> Scored:
    """K-means with as many clusters as classes; clustering accuracy and normalized mutual information on test."""
    from sklearn.metrics import normalized_mutual_info_score

    train, test, k = features.normalize(data.train), features.normalize(data.test), data.classes
    found = kmeans.kmeans(train, k, settings["n_init"], seed, settings["max_iter"], settings["tol"])
    of_train, of_test = (kmeans.assign(part, found.centers[None])[0][:, 0] for part in (train, test))
    by_train = match(of_train, data.train_labels, k)
    metrics = {
        "accuracy": matched_accuracy(of_test, data.test_labels, k),
        "accuracy_matched_on_train": features.accuracy(by_train[of_test], data.test_labels),
        "nmi": float(normalized_mutual_info_score(data.test_labels.cpu().numpy(), of_test.cpu().numpy())),
        "inertia": found.inertia,
        "converged": found.converged,
        "iterations": found.iterations,
    }
    return metrics, {
        **data.sizes,
        "split": "fitted on train, scored on test",
        "normalization": "unit length",
        "clusters": k,
        "solver": "Lloyd, k-means++ starts, least inertia on train",
        "matching": "Hungarian, on test (clustering accuracy); accuracy_matched_on_train: on train",
        "seed": seed,
        **settings,
    }


def cluster_release(data: Features, settings: Mapping[str, Any], readouts: Mapping[str, Tensor]) -> Scored:
    """The release's k-means, fitted and scored on test: h at unit length, e unscaled; one accuracy a readout."""
    block, seed, k = settings["kmeans_release"], settings["seed"], data.classes
    metrics: dict[str, Any] = {"converged": True}
    for name, values in readouts.items():
        points = features.normalize(values) if name.startswith("h") else values
        found = kmeans.kmeans_unit(points, k, block["n_init"], seed, block["max_iter"], block["tol"])
        clusters = kmeans.assign(points, found.centers[None])[0][:, 0]
        metrics[name] = matched_accuracy(clusters, data.test_labels, k)
        metrics["converged"] &= found.converged
    return metrics, {
        "split": "fitted and scored on test",
        "n_test": len(data.test),
        "normalization": "h: unit length; e: none",
        "clusters": k,
        "solver": "Lloyd, k-means++ starts, centers of unit length, least mean distance",
        "matching": "Hungarian, on test",
        "seed": seed,
        **block,
    }


def matched_accuracy(clusters: Tensor, labels: Tensor, k: int) -> float:
    """Accuracy under the best map from clusters to classes."""
    return features.accuracy(match(clusters, labels, k)[clusters], labels)


def match(clusters: Tensor, labels: Tensor, k: int) -> Tensor:
    """The one-to-one map from clusters to classes with most hits (Hungarian method). Shape: (N,), (N,) to (k,)."""
    from scipy.optimize import linear_sum_assignment

    table = torch.bincount(clusters * k + labels, minlength=k * k).view(k, k)
    return torch.from_numpy(linear_sum_assignment(table.cpu().numpy(), maximize=True)[1]).to(clusters.device)


@torch.no_grad()
def readouts(job: Job, images: Tensor) -> dict[str, Tensor]:
    """What the authors of the structural GAN cluster, for uint8 images. Shape of each: (N, D), float32."""
    parts = [job.method.readouts(batch.float() / 127.5 - 1) for batch in torch.split(images, features.BATCH)]
    found = {name: torch.cat([part[name].float() for part in parts]) for name in parts[0]}
    return {name: features.finite(values, name) for name, values in found.items()}


def online_probe(job: Job) -> tuple[dict[str, Any], dict[str, Any]]:
    """The last scores of the classifier that was trained beside the encoder, and its protocol.

    There is no score where the run made no step or its images have no labels. The protocol stays the same for all runs.
    """
    settings = job.config["settings"]["training"]["online_probe"]
    if settings is None:
        return {}, {}
    losses = [record["losses"] for record in job.history() if "online_top1" in record["losses"]]
    names = {"online_top1": "top1", "online_top1_ema": "top1_ema"}
    scores = {names[key]: value for key, value in losses[-1].items() if key in names} if losses else {}
    classifier = "linear head on detached features of the augmented training images, trained beside the encoder"
    protocol = {"classifier": classifier, "split": "train→test", **settings}
    return {"online_probe": scores} if scores else {}, {"online_probe": protocol}
