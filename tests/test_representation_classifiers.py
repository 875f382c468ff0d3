"""Linear classifiers against scikit-learn's, nearest neighbours against a literal loop, the subset with few labels."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from blobs import blobs
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC
from torch import nn

from structgan.evaluation import features, few_labels, linear, neighbours

# linear classifiers


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
        assert float(value) == pytest.approx(float(nn.functional.cross_entropy(scores, labels, reduction="sum")))


@pytest.mark.parametrize("C", [0.01, 1.0])
def test_logistic_regression_is_scikit_learns(C: float) -> None:
    (x, y), (test, _) = blobs(900, 4, 20, 0.4), blobs(400, 4, 20, 0.4, seed=1)
    x, test = features.standardise(x, test)
    model = linear.fit(x, y, 4, "softmax", C, max_iter=2000, tol=1e-6)
    reference = LogisticRegression(C=C, tol=1e-8, max_iter=5000).fit(x.double().numpy(), y.numpy())
    assert model.converged
    np.testing.assert_allclose(model.weight.numpy(), reference.coef_, atol=2e-3)
    # softmax scores are free up to a common constant, in the intercepts alone
    bias = model.bias - model.bias.mean()
    np.testing.assert_allclose(bias.numpy(), reference.intercept_ - reference.intercept_.mean(), atol=2e-3)
    log_p = (x @ model.weight.T + model.bias).log_softmax(1)
    by_hand = 0.5 * model.weight.square().sum() - C * log_p[torch.arange(len(y)), y].sum()
    assert model.objective == pytest.approx(float(by_hand), rel=1e-5)
    agreement = np.mean(model.predict(test).numpy() == reference.predict(test.numpy()))
    assert agreement >= 0.995


@pytest.mark.parametrize(("C", "classes"), [(0.01, 4), (1.0, 4), (0.1, 2)])
def test_the_svm_is_scikit_learns_linear_svc(C: float, classes: int) -> None:
    (x, y), (test, _) = blobs(900, classes, 20, 0.4), blobs(400, classes, 20, 0.4, seed=1)
    x, test = features.standardise(x, test)
    y = torch.where(torch.arange(len(y)) % 5 == 0, 0, y)  # unbalanced, so that the intercept's penalty shows
    model = linear.fit(x, y, classes, "squared_hinge", C, max_iter=2000, tol=1e-6)
    reference = LinearSVC(C=C, dual=False, tol=1e-9, max_iter=10000).fit(x.double().numpy(), y.numpy())
    coef, intercept = reference.coef_, reference.intercept_
    if classes == 2:  # liblinear solves the second of the two mirrored problems only
        coef, intercept = np.concatenate([-coef, coef]), np.concatenate([-intercept, intercept])
    assert model.converged
    np.testing.assert_allclose(model.weight.numpy(), coef, atol=1e-3)
    np.testing.assert_allclose(model.bias.numpy(), intercept, atol=1e-3)
    objective = 0.0
    for k in range(classes):
        sign = np.where(y.numpy() == k, 1.0, -1.0)
        margin = np.maximum(0, 1 - sign * (x.double().numpy() @ coef[k] + intercept[k]))
        objective += 0.5 * (coef[k] @ coef[k] + intercept[k] ** 2) + C * np.sum(margin**2)
    assert model.objective == pytest.approx(objective, rel=1e-5)
    assert np.mean(model.predict(test).numpy() == reference.predict(test.numpy())) >= 0.995


def test_ill_conditioned_features_need_few_iterations() -> None:
    x, y = blobs(600, 3, 30, 0.5)
    x[:, 1:] += 300 * x[:, :1]  # nearly collinear
    (x,) = features.standardise(x)
    model = linear.fit(x, y, 3, "softmax", 1.0, max_iter=2000, tol=1e-4)
    assert model.converged and model.iterations < 150 and model.gradient <= 1e-4


def test_a_solver_that_is_cut_off_says_so() -> None:
    x, y = blobs(300, 3, 10, 0.3)
    model = linear.fit(x, y, 3, "softmax", 1.0, max_iter=2, tol=1e-4)
    assert not model.converged and model.iterations == 2 and model.gradient > 1e-4


# neighbours


def test_nearest_neighbours_against_a_literal_loop() -> None:
    (x, y), (queries, _) = blobs(150, 4, 6, 0.4), blobs(40, 4, 6, 0.4, seed=1)
    predicted = neighbours.predict(x, y, queries, k=7, temperature=0.1)
    for query, found in zip(queries.double().numpy(), predicted.tolist(), strict=True):
        cosines = [float(query @ r / np.linalg.norm(query) / np.linalg.norm(r)) for r in x.double().numpy()]
        votes = [0.0] * 4
        for i in sorted(range(150), key=lambda i: -cosines[i])[:7]:
            votes[int(y[i])] += math.exp(cosines[i] / 0.1)
        assert found == int(np.argmax(votes))


def test_neighbours_survive_a_tiny_temperature_and_refuse_a_k_out_of_range() -> None:
    x, y = blobs(60, 3, 5, 1.0)
    assert torch.equal(neighbours.predict(x, y, x, k=10, temperature=1e-3), y)
    with pytest.raises(ValueError, match="k=61"):
        neighbours.predict(x, y, x, k=61, temperature=0.1)


# few labels


def test_the_labelled_subset_is_stratified_fixed_and_never_empty() -> None:
    y = torch.cat([torch.zeros(1000), torch.ones(500), torch.full((7,), 2)]).long()
    kept = few_labels.subset(y, 0.01, seed=0)
    assert torch.bincount(y[kept]).tolist() == [10, 5, 1]
    assert len(kept.unique()) == len(kept)
    assert torch.equal(kept, few_labels.subset(y, 0.01, seed=0))
    assert not torch.equal(kept, few_labels.subset(y, 0.01, seed=1))
    assert torch.equal(few_labels.subset(y, 1.0, seed=5), torch.arange(len(y)))
    with pytest.raises(ValueError, match="fraction"):
        few_labels.subset(y, 0.0, seed=0)
