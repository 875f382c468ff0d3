"""The probes at CIFAR's real size: seconds, accuracy beside scikit-learn's converged solvers, and peak memory.

``python -m benchmarks.probes --json FILE``. 50,000 training and 10,000 test samples of 512 features. Each probe has a
process of its own, whose peak memory is read after the probe's first run. Then it takes turns with scikit-learn's
solver of the same objective, on a part where the whole takes many minutes: ``compared`` says which. The SVM solves all
one-vs-rest problems at once, so that its ratio scales scikit-learn's seconds for two of them to all.
"""

import argparse
import multiprocessing
import resource
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import torch
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC
from torch import Tensor

from benchmarks import settings, timing
from structgan.evaluation import features, kmeans, knn, linear, probe
from structgan.evaluation.features import Features

PART = 2
"""One-vs-rest problems, and starts of k-means, that are compared."""
DIMENSIONS, MODES = 512, 4
DECAY = 0.85
"""The i-th principal direction has deviation i^-DECAY. Variances of a random ResNet-18's standardized features (2,500
images of CIFAR-10) were 0.03, 9e-4 and 6e-6 of the largest at about i = 10, 100 and 512: a condition number of 10^5."""
INFORMATIVE = 64
"""Leading directions in which the modes' centers differ."""
APART = {10: 0.45, 100: 0.8}
"""Deviation of the modes' centers, in deviations within a mode, by the number of classes: classes overlap."""
Side = Callable[[], float]


def draw(classes: int, *sizes: int) -> tuple[Tensor, ...]:
    """Seeded features, each class a mixture of Gaussians, as hard for a solver as a network's on CIFAR-10.

    Returns:
        Features and labels of each split. Shape: (N, 512), float32, and (N,), int64.
    """
    generator = torch.Generator().manual_seed(0)
    scale = torch.arange(1, DIMENSIONS + 1).float().pow(-DECAY)
    turn = torch.linalg.qr(torch.randn(DIMENSIONS, DIMENSIONS, generator=generator)).Q
    centers = APART[classes] * torch.randn(classes * MODES, DIMENSIONS, generator=generator)
    centers[:, INFORMATIVE:] = 0
    found: list[Tensor] = []
    for n in sizes:
        labels = torch.randint(classes, (n,), generator=generator)
        modes = labels * MODES + torch.randint(MODES, (n,), generator=generator)
        noise = torch.randn(n, DIMENSIONS, generator=generator)
        found += [noise.add_(centers[modes]).mul_(scale) @ turn, labels]
    return tuple(found)


def points(predicted: Tensor, truth: Tensor) -> float:
    return 100 * features.accuracy(predicted, truth)


def nearest(data: Features, k: int, temperature: float) -> Tensor:
    """What ``structgan.evaluation.knn`` predicts for the test split, by a matrix product on the features' device."""
    pool, found = features.normalize(data.train), []
    for queries in torch.split(features.normalize(data.test), 1000):
        cosine, index = (queries @ pool.T).topk(k, dim=1)
        weight = torch.exp((cosine - cosine[:, :1]) / temperature)
        votes = weight.new_zeros(len(queries), data.classes).scatter_add_(1, data.train_labels[index], weight)
        found.append(votes.argmax(1))
    return torch.cat(found)


def of_linear(data: Features, block: dict[str, Any]) -> tuple[Side, Side, str]:
    x, test = (part.double().numpy() for part in data.standardized)

    def theirs() -> float:
        found = LogisticRegression(C=block["C"], tol=1e-4, max_iter=10000).fit(x, data.train_labels.numpy())
        return points(torch.from_numpy(found.predict(test)), data.test_labels)

    return lambda: 100 * linear.logistic_regression(data, block)[0]["top1"], theirs, "LogisticRegression (lbfgs)"


def of_svm(data: Features, block: dict[str, Any]) -> tuple[Side, Side, str]:
    x, test = data.standardized
    truth = torch.stack([data.test_labels == c for c in range(PART)], dim=1)

    def ours() -> float:
        limits = block["C"], block["max_iter"], block["tol"]
        found = linear.fit(x, data.train_labels, data.classes, "squared_hinge", *limits)
        return points((test @ found.weight.T + found.bias)[:, :PART] > 0, truth)

    def theirs() -> float:
        models = [LinearSVC(C=block["C"], dual=False, tol=1e-4, max_iter=10000) for _ in range(PART)]
        for c, model in enumerate(models):
            model.fit(x.double().numpy(), data.train_labels.numpy() == c)
        predicted = [torch.from_numpy(model.predict(test.double().numpy())) for model in models]
        return points(torch.stack(predicted, dim=1), truth)

    return ours, theirs, f"LinearSVC (primal) on {PART} of {data.classes} one-vs-rest"


def of_kmeans(data: Features, block: dict[str, Any]) -> tuple[Side, Side, str]:
    x, test, k = features.normalize(data.train), features.normalize(data.test), data.classes
    starts = kmeans.plus_plus(x, k, PART, torch.Generator().manual_seed(0))
    limits = {key: block[key] for key in ("max_iter", "tol")}

    def matched(centers: Tensor) -> float:
        clusters = kmeans.assign(test, centers[None])[0][:, 0]
        return points(probe.match(clusters, data.test_labels, k)[clusters], data.test_labels)

    def theirs() -> float:
        found = [KMeans(k, init=start.numpy(), n_init=1, **limits).fit(x.numpy()) for start in starts]
        return matched(torch.from_numpy(min(found, key=lambda one: one.inertia_).cluster_centers_))

    return lambda: matched(kmeans.lloyd(x, starts, **limits).centers), theirs, f"KMeans from {PART} equal starts"


def of_knn(data: Features, block: dict[str, Any]) -> tuple[Side, Side, str]:
    """Ours is scikit-learn's."""

    def product() -> float:
        return points(nearest(data, **block), data.test_labels)

    return lambda: 100 * knn.classify(data, block)[0]["top1"], product, "PyTorch's matrix product"


RIVALS = {"linear": of_linear, "svm": of_svm, "kmeans": of_kmeans, "knn": of_knn}


def measure(name: str, classes: int, options: argparse.Namespace) -> dict[str, Any]:
    """The figures of one probe, whose process has done nothing else."""
    timing.begin(options)
    asked = settings.read()["evaluation"]
    splits = draw(classes, *options.samples)
    metrics: dict[str, Any] = {}
    seconds = timing.timed(lambda: metrics.update(probe.probes(Features(*splits), asked)[name]()[0]), "cpu")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    ours, theirs, compared = RIVALS[name](Features(*splits), asked[name])
    scores: dict[str, list[float]] = {"ours": [], "other": []}
    sides = {"ours": lambda: scores["ours"].append(ours()), "other": lambda: scores["other"].append(theirs())}
    times = timing.in_turn(sides, options.rounds, warmup=0)
    return {
        "seconds": seconds,
        "peak_mb": memory,
        "metrics": metrics,
        "compared": compared,
        "accuracy_points": scores,
        "accuracy_gap_points": abs(scores["ours"][-1] - scores["other"][-1]),
        "compared_seconds": {key: timing.figures(one) for key, one in times.items()},
        "ratio": timing.ratio(times["other"], times["ours"]) * (classes / PART if name == "svm" else 1),
    }


def main() -> None:
    parser = timing.parser(__doc__, rounds=1)
    parser.add_argument("--classes", type=int, nargs="+", choices=(10, 100), default=(10, 100))
    parser.add_argument("--samples", type=int, nargs=2, default=(50000, 10000), help="of training and of test")
    options = parser.parse_args()
    options.device = "cpu"
    found = {}
    for classes in options.classes:
        for name in RIVALS:
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as apart:
                found[f"{name}_{classes}"] = apart.submit(measure, name, classes, options).result()
    keys = ("seconds", "peak_mb", "accuracy_gap_points", "ratio", "compared")
    timing.table([{"probe": name, **{key: one[key] for key in keys}} for name, one in found.items()])
    timing.save(options, {"probes": found})


if __name__ == "__main__":
    main()
