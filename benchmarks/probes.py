"""The probes at CIFAR's real size: seconds, accuracy beside scikit-learn's converged solvers, and peak memory.

``python -m benchmarks.probes --json FILE``. 50,000 training and 10,000 test samples of 512 features, see
``synthetic_features.py``. Each probe has a process of its own, which runs it first as a job does; its peak memory is
read then. After that it takes turns with scikit-learn's solver of the same objective, on a part where the whole takes
many minutes: ``compared`` says on what, ``--full`` takes all. An SVM's ratio counts scikit-learn's seconds for that
part as many times as the part goes into the whole, since ours solves all classes at once.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import settings, timing
from benchmarks.synthetic_features import draw
from structgan.evaluation import features, kmeans, linear, probe
from structgan.evaluation.features import Features

LIMITS = {"linear": {10: 15, 100: 60}, "svm": {10: 15, 100: 60}, "kmeans": {10: 15, 100: 60}, "knn": {10: 10, 100: 10}}
"""Seconds that each probe may take on two cores."""


class Case:
    """One probe on one draw, and scikit-learn's solver of the same problem."""

    def __init__(self, probe: str, options: argparse.Namespace) -> None:
        self.probe, self.classes = probe, options.classes[0]
        (self.train, self.labels), (self.test, self.test_labels) = draw(self.classes, (options.train, options.test))
        self.settings = settings.read()["evaluation"]
        self.parts = self.classes if options.full else 2
        self.share = self.classes / self.parts if probe == "svm" else 1.0  # ours solves all problems at once

    def ours(self) -> dict[str, Any]:
        """The probe as a job runs it, standardization and scores with it."""
        data = Features(self.train, self.labels, self.test, self.test_labels)
        return probe.probes(data, self.settings)[self.probe]()[0]

    def sides(self) -> tuple[dict[str, Callable[[], float]], str]:
        """Ours and scikit-learn's on the same problem, each to its accuracy in points; and what is compared."""
        made: dict[str, Callable[[], tuple[dict[str, Callable[[], float]], str]]] = {
            "linear": self.linear,
            "svm": self.svm,
            "kmeans": self.kmeans,
            "knn": self.knn,
        }
        return made[self.probe]()

    def score(self, predicted: Tensor | np.ndarray[Any, Any], truth: Tensor) -> float:
        """Accuracy in points."""
        return 100 * features.accuracy(torch.as_tensor(predicted), truth)

    def linear(self) -> tuple[dict[str, Callable[[], float]], str]:
        from sklearn.linear_model import LogisticRegression

        x, test = features.standardize(self.train, self.test)

        def theirs() -> float:
            found = LogisticRegression(C=self.settings["linear"]["C"], tol=1e-4, max_iter=10000)
            found.fit(x.double().numpy(), self.labels.numpy())
            return self.score(found.predict(test.double().numpy()), self.test_labels)

        return {
            "ours": lambda: 100 * self.ours()["top1"],
            "scikit-learn": theirs,
        }, "LogisticRegression (lbfgs, tol 1e-4)"

    def svm(self) -> tuple[dict[str, Callable[[], float]], str]:
        from sklearn.svm import LinearSVC

        x, test = features.standardize(self.train, self.test)
        block, double = self.settings["svm"], x.double().numpy()
        some = range(min(self.parts, self.classes))

        def against(scores: list[np.ndarray[Any, Any]]) -> float:
            """Mean accuracy of the problems "this class or not"."""
            truths = [self.test_labels == c for c in some]
            return float(np.mean([self.score(s > 0, t) for s, t in zip(scores, truths, strict=True)]))

        def ours() -> float:
            found = linear.fit(
                x, self.labels, self.classes, "squared_hinge", block["C"], block["max_iter"], block["tol"]
            )
            scores = test @ found.weight.T + found.bias
            return against([scores[:, c].numpy() for c in some])

        def theirs() -> float:
            scores = []
            for c in some:
                found = LinearSVC(C=block["C"], dual=False, tol=1e-4, max_iter=10000)
                scores.append(found.fit(double, self.labels.numpy() == c).decision_function(test.double().numpy()))
            return against(scores)

        return {
            "ours": ours,
            "scikit-learn": theirs,
        }, f"LinearSVC (primal) on {len(some)} of {self.classes} one-vs-rest"

    def kmeans(self) -> tuple[dict[str, Callable[[], float]], str]:
        from sklearn.cluster import KMeans

        x, test = features.normalize(self.train), features.normalize(self.test)
        block, k = self.settings["kmeans"], self.classes
        starts = kmeans.plus_plus(x, k, min(self.parts, block["n_init"]), torch.Generator().manual_seed(0))

        def matched(centers: Tensor) -> float:
            clusters = kmeans.assign(test, centers[None])[0][:, 0]
            return self.score(probe.match(clusters, self.test_labels, k)[clusters], self.test_labels)

        def theirs() -> float:
            found = [
                KMeans(k, init=start.numpy(), n_init=1, max_iter=block["max_iter"], tol=block["tol"]).fit(x.numpy())
                for start in starts
            ]
            return matched(torch.from_numpy(min(found, key=lambda one: one.inertia_).cluster_centers_))

        def ours() -> float:
            return matched(kmeans.lloyd(x, starts, block["max_iter"], block["tol"]).centers)

        return {"ours": ours, "scikit-learn": theirs}, f"KMeans from {len(starts)} equal starts of {block['n_init']}"

    def knn(self) -> tuple[dict[str, Callable[[], float]], str]:
        """scikit-learn finds our neighbors; the other side is the plain matrix product of PyTorch."""
        block = self.settings["knn"]

        def product() -> float:
            columns, predicted = features.normalize(self.train).T.contiguous(), []
            for queries in torch.split(features.normalize(self.test), 500):
                similarity, index = (queries @ columns).topk(block["k"], dim=1)
                votes = torch.zeros(len(queries), self.classes)
                votes.scatter_add_(1, self.labels[index], (similarity / block["temperature"]).exp())
                predicted.append(votes.argmax(dim=1))
            return self.score(torch.cat(predicted), self.test_labels)

        sides: dict[str, Callable[[], float]] = {"ours": lambda: 100 * self.ours()["top1"], "matrix product": product}
        return sides, "KNeighborsClassifier is the implementation; the other side is PyTorch's matrix product"


def measure(probe: str, options: argparse.Namespace) -> dict[str, Any]:
    """The figures of one probe, in this process and nowhere else."""
    case = Case(probe, options)
    drawn = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    first: list[dict[str, Any]] = []
    whole = timing.in_turn({probe: lambda: first.append(case.ours())}, 1, warmup=0)[probe]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sides, compared = case.sides()
    found: dict[str, float] = {}

    def kept(name: str) -> None:
        found[name] = sides[name]()

    times = timing.in_turn({name: partial(kept, name) for name in sides}, options.rounds, warmup=0)
    other = next(name for name in sides if name != "ours")
    return {
        "seconds": whole.median,
        "limit_seconds": LIMITS[probe][case.classes],
        "peak_mb": memory,
        "peak_mb_before": drawn,
        "metrics": first[0],
        "compared": compared,
        "accuracy_points": found,
        "accuracy_gap_points": abs(found["ours"] - found[other]),
        "compared_seconds": {name: one.figures() for name, one in times.items()},
        "ratio": case.share * timing.ratio(times[other], times["ours"]),
    }


def apart(probe: str, classes: int, options: argparse.Namespace) -> dict[str, Any]:
    """The same in a process of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "found.json"
        command = [
            sys.executable,
            "-m",
            "benchmarks.probes",
            "--only",
            probe,
            "--classes",
            str(classes),
            "--device",
            "cpu",
        ]
        command += ["--rounds", str(options.rounds), "--train", str(options.train), "--test", str(options.test)]
        command += ["--json", str(out), *(["--full"] if options.full else [])]
        command += ["--threads", str(options.threads)] if options.threads else []
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return dict(json.loads(out.read_text()))


def main() -> None:
    parser = timing.parser(__doc__, rounds=1)
    sizes = sorted(LIMITS["linear"])
    parser.add_argument("--classes", type=int, nargs="+", choices=sizes, default=sizes)
    parser.add_argument("--train", type=int, default=50000, help="training samples")
    parser.add_argument("--test", type=int, default=10000, help="test samples")
    parser.add_argument("--full", action="store_true", help="compare all one-vs-rest problems and all starts")
    parser.add_argument("--only", choices=list(LIMITS), help="one probe, in this process, with one number of classes")
    options = parser.parse_args()
    options.device = "cpu"
    timing.begin(options)
    if options.only:
        timing.conclude(options, measure(options.only, options))
        return
    found = {f"{probe}_{classes}": apart(probe, classes, options) for classes in options.classes for probe in LIMITS}
    rows = [
        [name.replace("_", ", ") + " classes", f"{one['seconds']:.1f} s", f"{one['limit_seconds']} s",
         f"{one['peak_mb']:.0f} MB", f"{one['accuracy_gap_points']:.3f}", f"{one['ratio']:.1f}x", one["compared"]]
        for name, one in found.items()
    ]  # fmt: skip
    timing.table(["probe", "takes", "limit", "peak", "gap in points", "ratio", "beside"], rows)
    keys = ("seconds", "accuracy_gap_points", "ratio", "peak_mb")
    summary = {key: {name: one[key] for name, one in found.items()} for key in keys}
    timing.conclude(options, {**summary, "probes": found})


if __name__ == "__main__":
    main()
