"""Linear classifiers on fixed features: multinomial logistic regression and the one-vs-rest linear SVM.

Both minimize sklearn's objectives, ½·penalty + C·Σ loss, so that C means the same. The solver is L-BFGS on exact
gradients, after a change of variables by the Cholesky factor of the approximate Hessian I + C·h·XᵀX. The minimum is the
same, and strongly correlated features no longer cost thousands of iterations.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from structgan.evaluation.features import Features, Scored, accuracy

Loss = Literal["softmax", "squared_hinge"]
SOLVER = "L-BFGS on exact gradients, preconditioned by the Cholesky factor of the approximate Hessian"
DOUBLE_ENTRIES = 1 << 25
"""Up to this many feature entries (256 MB; CIFAR's 50,000 × 512 fit) the data pass is in float64. Beyond, it is in
float32, where a tolerance of 1e-4 may be out of reach; ``converged`` then says so."""


@dataclass(frozen=True)
class LinearModel:
    """Scores are ``x · weightᵀ + bias``. Shape: weight (K, D), bias (K,), float32.

    Attributes:
        objective: sklearn's objective at the solution, summed over samples (and classes).
        converged: whether the solver met its tolerance before ``max_iter``.
        iterations: of L-BFGS.
        gradient: largest gradient entry at the end relative to the start, in the solver's variables.
    """

    weight: Tensor
    bias: Tensor
    objective: float
    converged: bool
    iterations: int
    gradient: float

    @property
    def convergence(self) -> dict[str, Any]:
        """What metrics say of the solver."""
        return {"converged": self.converged, "iterations": self.iterations, "relative_gradient": self.gradient}

    def predict(self, features: Tensor) -> Tensor:
        """Class of the highest score. Shape: (N, D) → (N,), int64."""
        return (features @ self.weight.T + self.bias).argmax(dim=1)


def softmax_loss(scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy summed over samples, and its gradient. Shape: scores (N, K), labels (N,) → (), (N, K)."""
    log_p = scores.log_softmax(dim=1)
    index = labels[:, None]
    gradient = log_p.exp().scatter_add_(1, index, torch.full_like(scores[:, :1], -1.0))
    return -log_p.gather(1, index).double().sum(), gradient


def squared_hinge_loss(scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Σ max(0, 1 − y·s)² over samples and classes, y = +1 for the class and −1 for the rest, and its gradient."""
    sign = torch.full_like(scores, -1.0).scatter_(1, labels[:, None], 1.0)
    margin = (1 - sign * scores).clamp_min_(0)
    return margin.square().double().sum(), -2 * sign * margin


# loss and gradient, typical second derivative in a score (any positive number is right, it only sets the speed),
# penalty on the intercept
LOSSES: dict[Loss, tuple[Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], float, float]] = {
    "softmax": (softmax_loss, 0.1, 0.0),
    "squared_hinge": (squared_hinge_loss, 0.5, 1.0),
}


def preconditioner(features: Tensor, curvature: float, penalty: Tensor) -> Tensor:
    """T such that w = u · T has a Hessian near the identity in u: the inverse Cholesky factor of its estimate.

    Estimated on at most 20 (D + 1) rows and with a small ridge: it sets the speed and not the minimum.

    Args:
        features: Shape: (N, D). penalty: Shape: (D + 1,), second derivative of the penalty, intercept last.

    Returns:
        Shape: (D + 1, D + 1), float64, lower triangular.
    """
    n, d = features.shape
    rows = features[:: max(1, n // (20 * (d + 1)))]
    rows = torch.cat([rows, rows.new_ones(len(rows), 1)], dim=1)
    hessian = (rows.T @ rows).double() * (curvature / len(rows)) + penalty.diag()
    hessian.diagonal().add_(1e-6 * hessian.diagonal().mean())
    eye = torch.eye(d + 1, dtype=torch.float64, device=features.device)
    inverse: Tensor = torch.linalg.solve_triangular(torch.linalg.cholesky(hessian), eye, upper=False)
    return inverse


def fit(features: Tensor, labels: Tensor, classes: int, loss: Loss, C: float, max_iter: int, tol: float) -> LinearModel:
    """Minimize ½(‖W‖² + p‖b‖²) + C·Σᵢ loss(W xᵢ + b, yᵢ).

    ``softmax``: p = 0, as sklearn's LogisticRegression for three classes or more (multinomial, L2, intercept free).
    ``squared_hinge``: p = 1, as sklearn's LinearSVC, whose intercept is the weight of a constant feature 1 and is
    penalised like the others; one-vs-rest, and with two classes two mirrored problems with equal predictions.

    Args:
        features: Shape: (N, D), float32, standardized by the caller.
        labels: Shape: (N,), int64 in [0, classes).
        tol: stop when the largest gradient entry is at most ``tol`` times the largest one at W = 0, b = 0.
    """
    from scipy.optimize import minimize

    function, curvature, intercept_penalty = LOSSES[loss]
    n, d = features.shape
    device = features.device
    if features.numel() <= DOUBLE_ENTRIES:
        features = features.double()
    penalty = torch.ones(d + 1, dtype=torch.float64, device=device)
    penalty[d] = intercept_penalty
    penalty /= C * n
    to_weights = preconditioner(features, curvature, penalty)

    def objective(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights = torch.from_numpy(flat).to(device).view(classes, d + 1) @ to_weights
        single = weights.to(features.dtype)
        value, by_score = function(torch.addmm(single[:, d], features, single[:, :d].T), labels)
        data = torch.cat([by_score.T @ features, by_score.sum(dim=0)[:, None]], dim=1).double() / n
        gradient = (data + weights * penalty) @ to_weights.T
        total = value / n + 0.5 * (weights.square() * penalty).sum()
        return float(total), gradient.flatten().cpu().numpy()

    start = np.zeros(classes * (d + 1))
    first = float(np.abs(objective(start)[1]).max())
    options = {"maxiter": max_iter, "maxfun": 4 * max_iter, "maxcor": 20, "gtol": tol * first, "ftol": 1e-11}
    solution = minimize(objective, start, jac=True, method="L-BFGS-B", options=options)
    gradient = float(np.abs(solution.jac).max()) / max(first, 1e-300)
    weights = torch.from_numpy(solution.x).to(device).view(classes, d + 1) @ to_weights
    return LinearModel(
        weight=weights[:, :d].float(),
        bias=weights[:, d].float(),
        objective=float(solution.fun) * C * n,
        converged=gradient <= tol,
        iterations=int(solution.nit),
        gradient=gradient,
    )


def logistic_regression(data: Features, settings: Mapping[str, Any], kept: Tensor | None = None) -> Scored:
    """Multinomial logistic regression with L2 penalty, on the training samples ``kept`` (all by default)."""
    return _classify(data, "softmax", "multinomial logistic regression, L2", settings, kept)


def svm(data: Features, settings: Mapping[str, Any]) -> Scored:
    """One-vs-rest linear SVM with squared hinge loss, the objective of sklearn's LinearSVC."""
    name = "one-vs-rest linear SVM, squared hinge, L2, intercept penalised"
    return _classify(data, "squared_hinge", name, settings)


def few_labels(data: Features, settings: Mapping[str, Any], fraction: float, seed: int) -> Scored:
    """The logistic regression, with its C, on a fraction of the labels; nothing is chosen on test."""
    kept = stratified_subset(data.train_labels, fraction, seed)
    metrics, protocol = logistic_regression(data, settings, kept)
    return {**metrics, "labels": len(kept)}, {
        **protocol,
        "normalization": "standardized on all of train, without labels",
        "fraction": fraction,
        "subset": "stratified, at least one a class",
        "seed": seed,
    }


def stratified_subset(labels: Tensor, fraction: float, seed: int) -> Tensor:
    """Indices of a random subset with the given fraction of each class, rounded, and at least one sample.

    It depends on the labels, the fraction and the seed alone, so that all encoders get the same one.
    Shape: (N,) int64 → (n,) int64, ascending.
    """
    generator = torch.Generator().manual_seed(seed)
    host, kept = labels.cpu(), []
    for label in torch.bincount(host).nonzero().flatten().tolist():
        members = (host == label).nonzero().flatten()
        count = max(1, round(fraction * len(members)))
        kept.append(members[torch.randperm(len(members), generator=generator)[:count]])
    return torch.cat(kept).sort().values.to(labels.device)


def _classify(data: Features, loss: Loss, name: str, settings: Mapping[str, Any], kept: Tensor | None = None) -> Scored:
    (train, test), labels = data.standardized, data.train_labels
    if kept is not None:
        train, labels = train[kept], labels[kept]
    model = fit(train, labels, data.classes, loss, settings["C"], settings["max_iter"], settings["tol"])
    metrics = {
        "top1": accuracy(model.predict(test), data.test_labels),
        "top1_train": accuracy(model.predict(train), labels),
        **model.convergence,
    }
    fitted = {"n_train": len(labels), "normalization": "standardized on train", "solver": SOLVER}
    return metrics, {"classifier": name, **data.sizes, **fitted, **settings}
