"""Linear classifiers against scikit-learn's solvers of the same objectives, and the subsets with few labels."""

import itertools

import numpy as np
import pytest
import torch
from blobs import blobs
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from structgan.evaluation import features, linear


@pytest.mark.parametrize("loss", ["softmax", "squared_hinge"])
def test_loss_gradients_against_finite_differences(loss: linear.Loss) -> None:
    scores = torch.randn(6, 4, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 3, 1, 1])
    value, gradient = linear.LOSSES[loss][0](scores, labels)
    for i, k in itertools.product(range(6), range(4)):
        step = torch.zeros_like(scores)
        step[i, k] = 1e-6
        up, down = (linear.LOSSES[loss][0](scores + sign * step, labels)[0] for sign in (1, -1))
        assert float((up - down) / 2e-6) == pytest.approx(float(gradient[i, k]), abs=1e-6)
    if loss == "softmax":
        expected = torch.nn.functional.cross_entropy(scores, labels, reduction="sum")
        assert float(value) == pytest.approx(float(expected))


@pytest.mark.parametrize("C", [0.01, 1.0])
def test_logistic_regression_is_scikit_learns(C: float) -> None:
    x, y = blobs(900, 4, 20, 0.4)
    (x,) = features.standardize(x)
    model = linear.fit(x, y, 4, "softmax", C, max_iter=2000, tol=1e-6)
    reference = LogisticRegression(C=C, tol=1e-8, max_iter=5000).fit(x.double().numpy(), y.numpy())
    assert model.converged
    np.testing.assert_allclose(model.weight.numpy(), reference.coef_, atol=2e-3)
    bias = model.bias - model.bias.mean()  # softmax does not see a constant that all scores share
    np.testing.assert_allclose(bias.numpy(), reference.intercept_ - reference.intercept_.mean(), atol=2e-3)
    log_p = (x @ model.weight.T + model.bias).log_softmax(1)
    by_hand = 0.5 * model.weight.square().sum() - C * log_p[torch.arange(len(y)), y].sum()
    assert model.objective == pytest.approx(float(by_hand), rel=1e-5)


@pytest.mark.parametrize(("C", "classes"), [(0.01, 4), (1.0, 4), (0.1, 2)])
def test_the_svm_is_scikit_learns_linear_svc(C: float, classes: int) -> None:
    x, y = blobs(900, classes, 20, 0.4)
    (x,) = features.standardize(x)
    y = torch.where(torch.arange(len(y)) % 5 == 0, 0, y)  # unbalanced, so that the intercept's penalty matters
    model = linear.fit(x, y, classes, "squared_hinge", C, max_iter=2000, tol=1e-6)
    reference = LinearSVC(C=C, dual=False, tol=1e-9, max_iter=10000).fit(x.double().numpy(), y.numpy())
    coef, intercept = reference.coef_, reference.intercept_
    if classes == 2:  # liblinear solves the second of the two mirrored problems only
        coef, intercept = np.concatenate([-coef, coef]), np.concatenate([-intercept, intercept])
    assert model.converged
    np.testing.assert_allclose(model.weight.numpy(), coef, atol=1e-3)
    np.testing.assert_allclose(model.bias.numpy(), intercept, atol=1e-3)


def test_collinear_features_need_few_iterations_and_a_limit_is_reported() -> None:
    x, y = blobs(600, 3, 30, 0.5)
    x[:, 1:] += 300 * x[:, :1]
    (x,) = features.standardize(x)
    model = linear.fit(x, y, 3, "softmax", 1.0, max_iter=2000, tol=1e-4)
    assert model.converged and model.iterations < 150 and model.gradient <= 1e-4
    short = linear.fit(x, y, 3, "softmax", 1.0, max_iter=2, tol=1e-4)
    assert not short.converged and short.iterations == 2 and short.gradient > 1e-4


def test_the_labelled_subset_is_stratified_fixed_and_never_empty() -> None:
    y = torch.cat([torch.zeros(1000), torch.ones(500), torch.full((7,), 2)]).long()
    kept = linear.stratified_subset(y, 0.01, seed=0)
    assert torch.bincount(y[kept]).tolist() == [10, 5, 1] and len(kept.unique()) == len(kept)
    assert torch.equal(kept, linear.stratified_subset(y, 0.01, seed=0))
    assert not torch.equal(kept, linear.stratified_subset(y, 0.01, seed=1))
    assert torch.equal(linear.stratified_subset(y, 1.0, seed=5), torch.arange(len(y)))
