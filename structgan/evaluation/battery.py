"""The probes of frozen features: each returns its numbers and the protocol that they were taken under."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor

from structgan.errors import UserError
from structgan.evaluation import cluster, features, few_labels, kmeans_release, linear, neighbours

SOLVER = "L-BFGS on exact gradients, preconditioned by the Cholesky factor of the approximate Hessian"
Scored = tuple[dict[str, Any], dict[str, Any]]
"""(metrics, protocol) of one probe."""


class Probes:
    """All probes on one pair of splits.

    Args:
        train: Shape: (N, D), float32. train_labels: Shape: (N,), int64 in [0, classes). test, test_labels: likewise.
        protocol: the blocks linear, svm, kmeans, knn, few_labels and, with readouts, kmeans_release of the protocol.
        seed: draws the starts of k-means and the subsets of the few-label probes; part of the protocol, not of the run.
        readouts: a method's ``readouts`` of the test split, for the release's k-means. Shape of each: (N, D), float32.
    """

    def __init__(
        self,
        train: Tensor,
        train_labels: Tensor,
        test: Tensor,
        test_labels: Tensor,
        protocol: Mapping[str, Any],
        seed: int,
        readouts: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.readouts = {name: features.finite(value, name) for name, value in (readouts or {}).items()}
        self.train, self.test = features.finite(train, "train features"), features.finite(test, "test features")
        self.train_labels, self.test_labels = train_labels, test_labels
        self.settings, self.seed = protocol, seed
        self.classes = int(max(train_labels.max(), test_labels.max())) + 1
        self.standard = features.standardise(self.train, self.test)
        self.sizes = {"split": "train→test", "n_train": len(train), "n_test": len(test)}

    def asked(self, block: str, *keys: str) -> dict[str, Any]:
        """The values of a block of the protocol.

        Raises:
            UserError: one is missing.
        """
        given = self.settings.get(block, {})
        for key in keys:
            if key not in given:
                raise UserError(f"evaluation.{block}.{key} is missing (needed: {', '.join(keys)})")
        return {key: given[key] for key in keys}

    def classifier(self, loss: linear.Loss, block: str, kept: Tensor | None = None) -> Scored:
        """A linear classifier on standardised features, fitted on the training samples ``kept`` (all by default)."""
        settings = self.asked(block, "C", "max_iter", "tol")
        train, test = self.standard
        labels = self.train_labels
        if kept is not None:
            train, labels = train[kept], labels[kept]
        model = linear.fit(train, labels, self.classes, loss, settings["C"], settings["max_iter"], settings["tol"])
        metrics = {
            "top1": features.accuracy(model.predict(test), self.test_labels),
            "top1_train": features.accuracy(model.predict(train), labels),
            "converged": model.converged,
            "iterations": model.iterations,
            "relative_gradient": model.gradient,
        }
        protocol = {
            **self.sizes,
            "n_train": len(labels),
            "normalisation": "standardised on train",
            "solver": SOLVER,
            **settings,
        }
        return metrics, protocol

    def linear(self) -> Scored:
        """Multinomial logistic regression with L2 penalty."""
        metrics, protocol = self.classifier("softmax", "linear")
        return metrics, {"classifier": "multinomial logistic regression, L2", **protocol}

    def svm(self) -> Scored:
        """One-vs-rest linear SVM with squared hinge loss, the objective of sklearn's LinearSVC."""
        metrics, protocol = self.classifier("squared_hinge", "svm")
        return metrics, {"classifier": "one-vs-rest linear SVM, squared hinge, L2, intercept penalised", **protocol}

    def few_labels(self, fraction: float) -> Scored:
        """The logistic regression, with its C, on a fraction of the labels; nothing is chosen on test."""
        kept = few_labels.subset(self.train_labels, fraction, self.seed)
        metrics, protocol = self.classifier("softmax", "linear", kept)
        extra = {"fraction": fraction, "subset": "stratified, at least one a class", "seed": self.seed}
        protocol["normalisation"] = "standardised on all of train, without labels"
        return {**metrics, "labels": len(kept)}, {
            "classifier": "multinomial logistic regression, L2",
            **protocol,
            **extra,
        }

    def kmeans(self) -> Scored:
        """K-means with as many clusters as classes; clustering accuracy and mutual information on test."""
        settings = self.asked("kmeans", "n_init", "max_iter", "tol")
        train, test, k = features.normalise(self.train), features.normalise(self.test), self.classes
        found = cluster.kmeans(train, k, settings["n_init"], self.seed, settings["max_iter"], settings["tol"])
        tables = [
            cluster.contingency(cluster.assign(part, found.centres[None])[0][:, 0], labels, k)
            for part, labels in ((train, self.train_labels), (test, self.test_labels))
        ]
        by_train, by_test = (
            float(tables[1].gather(1, cluster.match(table)[:, None]).sum()) / len(test) for table in tables
        )
        metrics = {
            "accuracy": by_test,
            "accuracy_matched_on_train": by_train,
            "nmi": cluster.mutual_information(tables[1]),
            "inertia": found.inertia,
            "converged": found.converged,
            "iterations": found.iterations,
        }
        protocol = {
            **self.sizes,
            "split": "fitted on train, scored on test",
            "normalisation": "unit length",
            "clusters": k,
            "solver": "Lloyd, k-means++ starts, least inertia on train",
            "matching": "Hungarian, on test (clustering accuracy); accuracy_matched_on_train: on train",
            "seed": self.seed,
            **settings,
        }
        return metrics, protocol

    def kmeans_release(self) -> Scored:
        """The release's k-means, fitted and scored on test: h at unit length, e as it is; accuracy by readout."""
        settings = self.asked("kmeans_release", "n_init", "max_iter", "tol")
        metrics: dict[str, Any] = {"converged": True}
        for name, values in self.readouts.items():
            points = features.normalise(values) if name.startswith("h") else values
            found = kmeans_release.kmeans(
                points, self.classes, settings["n_init"], self.seed, settings["max_iter"], settings["tol"]
            )
            index = cluster.assign(points, found.centres[None])[0][:, 0]
            table = cluster.contingency(index, self.test_labels, self.classes)
            metrics[name] = float(table.gather(1, cluster.match(table)[:, None]).sum()) / len(points)
            metrics["converged"] &= found.converged
        protocol = {
            "split": "fitted and scored on test",
            "n_test": len(self.test),
            "normalisation": "h: unit length; e: none",
            "clusters": self.classes,
            "solver": "Lloyd, k-means++ starts, centres of unit length, least mean distance",
            "matching": "Hungarian, on test",
            "seed": self.seed,
            **settings,
        }
        return metrics, protocol

    def knn(self) -> Scored:
        """Weighted nearest neighbours by cosine."""
        settings = self.asked("knn", "k", "temperature")
        k, temperature = settings["k"], settings["temperature"]
        if k > len(self.train):
            raise UserError(f"knn.k is {k}, but there are only {len(self.train)} training samples (allowed: 1 to that)")
        predicted = neighbours.predict(self.train, self.train_labels, self.test, k, temperature)
        metrics = {"top1": features.accuracy(predicted, self.test_labels)}
        weights = "exp(cosine / temperature)"
        return metrics, {
            **self.sizes,
            "normalisation": "unit length",
            "solver": "scikit-learn, brute force",
            "weights": weights,
            "k": k,
            "temperature": temperature,
        }

    def all(self) -> dict[str, Callable[[], Scored]]:
        """Every probe by its name in probe.json; each returns (metrics, protocol)."""
        probes: dict[str, Callable[[], Scored]] = {
            "linear": self.linear,
            "svm": self.svm,
            "kmeans": self.kmeans,
            "knn": self.knn,
        }
        if self.readouts:
            probes["kmeans_release"] = self.kmeans_release
        for fraction in self.asked("few_labels", "fractions")["fractions"]:
            probes[f"linear_{100 * fraction:g}pct"] = partial(self.few_labels, fraction)
        return probes
