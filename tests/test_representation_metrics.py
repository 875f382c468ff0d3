"""Representation metrics against closed forms, literal loops and scikit-learn."""

from __future__ import annotations

import hashlib
import itertools
import json
import math

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE, trustworthiness
from sklearn.metrics import normalized_mutual_info_score
from sklearn.svm import LinearSVC
from torch import Tensor, nn

from structgan.errors import UserError
from structgan.metrics import cluster, features, few_labels, linear, neighbours, probe, projection


def blobs(n: int, classes: int, dim: int, distance: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Gaussian classes around fixed random centres; correlated dimensions, as features have."""
    centres = torch.randn(classes, dim, generator=torch.Generator().manual_seed(99)) * distance
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    mixing = torch.randn(dim, dim, generator=torch.Generator().manual_seed(7)) / math.sqrt(dim) + torch.eye(dim)
    return (centres[labels] + torch.randn(n, dim, generator=generator)) @ mixing, labels


PROTOCOL = {
    "linear": {"C": 1.0, "max_iter": 2000, "tol": 1e-4},
    "svm": {"C": 0.01, "max_iter": 2000},
    "kmeans": {"n_init": 4},
    "knn": {"k": 5, "temperature": 0.07},
    "few_labels": {"fractions": [0.01, 0.1]},
    "map": {"points": 60, "kind": "tsne"},
}


class Encoder(nn.Module):
    """A convolution with batch norm: in training mode a forward pass changes its buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)

    def forward(self, images: Tensor) -> Tensor:
        pooled: Tensor = self.norm(self.convolution(images)).mean(dim=(2, 3))
        return pooled


# features


def test_features_are_read_in_batches_from_images_in_minus_one_to_one() -> None:
    images = torch.randint(0, 256, (23, 3, 8, 8), dtype=torch.uint8)
    found = features.extract(lambda x: x.flatten(1), images, batch_size=10)
    np.testing.assert_allclose(found.numpy(), images.flatten(1).numpy() / 127.5 - 1, atol=1e-6)
    encoder = Encoder().eval()
    one, many = features.extract(encoder, images, 23), features.extract(encoder, images, 4)
    assert not one.requires_grad and one.dtype == torch.float32
    torch.testing.assert_close(one, many)


def test_features_of_a_wrong_kind_are_refused() -> None:
    images = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
    with pytest.raises(ValueError, match="uint8"):
        features.extract(lambda x: x.flatten(1), images.float())
    with pytest.raises(ValueError, match="must return"):
        features.extract(lambda x: x, images)
    with pytest.raises(UserError, match="NaN or infinity in 4 of 4 rows"):
        features.extract(lambda x: x.flatten(1) / 0, images)


def test_the_module_hash_covers_names_shapes_and_bytes() -> None:
    module = nn.Linear(2, 3)
    expected = hashlib.sha256()
    for name, shape in (("bias", "(3,)"), ("weight", "(3, 2)")):
        expected.update(f"{name} torch.float32 {shape}\n".encode())
        expected.update(module.state_dict()[name].numpy().tobytes())
    assert features.module_hash(module) == expected.hexdigest()
    before = features.module_hash(Encoder())
    assert features.module_hash(Encoder()) != before  # other weights


@pytest.mark.parametrize("what", ["weight", "buffer"])
def test_an_encoder_that_changes_is_noticed(what: str) -> None:
    encoder = Encoder().eval()
    images = torch.randint(0, 256, (8, 3, 8, 8), dtype=torch.uint8)
    with features.frozen(encoder) as digest:
        features.extract(encoder, images)
    assert digest == features.module_hash(encoder)
    with pytest.raises(UserError, match="must be frozen"), features.frozen(encoder):
        if what == "buffer":
            features.extract(encoder.train(), images)
        else:
            with torch.no_grad():
                encoder.convolution.bias[0] += 1e-6


def test_standardising_uses_the_train_split_and_leaves_constant_features_at_zero() -> None:
    train, _ = blobs(500, 3, 6, 2.0)
    train[:, 2], train[:, 4] = 0.1, 1e6
    test = train[:50] + 1
    a, b = features.standardise(train, test)
    keep = [0, 1, 3, 5]
    mean, deviation = train.double().mean(0), train.double().std(0, correction=0)
    torch.testing.assert_close(b[:, keep], ((test - mean) / deviation)[:, keep].float(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(a[:, keep].std(0, correction=0), torch.ones(4), atol=1e-5, rtol=1e-5)
    assert not a[:, [2, 4]].any() and not b[:, [2, 4]].any()


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
    model = linear.fit(x, y, 4, "softmax", C, tol=1e-6)
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
    model = linear.fit(x, y, classes, "squared_hinge", C, tol=1e-6)
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
    model = linear.fit(x, y, 3, "softmax", 1.0)
    assert model.converged and model.iterations < 150 and model.gradient <= 1e-4


def test_a_solver_that_is_cut_off_says_so() -> None:
    x, y = blobs(300, 3, 10, 0.3)
    model = linear.fit(x, y, 3, "softmax", max_iter=2)
    assert not model.converged and model.iterations == 2 and model.gradient > 1e-4


# k-means


def test_separable_classes_give_accuracy_one_whatever_the_cluster_numbers() -> None:
    x, y = blobs(400, 5, 8, 12.0)
    found = cluster.kmeans(x, 5, starts=8, seed=0)
    index, _ = cluster.assign(x, found.centres[None])
    table = cluster.contingency(index[:, 0], y, 5)
    assert int(table.gather(1, cluster.match(table)[:, None]).sum()) == 400
    assert cluster.mutual_information(table) == pytest.approx(1.0)
    assert found.converged
    permutation = torch.tensor([3, 0, 4, 1, 2])
    permuted = cluster.contingency(permutation[y], y, 5)
    assert cluster.match(permuted)[permutation].tolist() == [0, 1, 2, 3, 4]


def test_the_matching_is_the_best_of_all_permutations() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        table = torch.from_numpy(rng.integers(0, 20, (5, 5)))
        best = max(sum(int(table[i, p[i]]) for i in range(5)) for p in itertools.permutations(range(5)))
        mapping = cluster.match(table)
        assert sorted(mapping.tolist()) == list(range(5))
        assert int(table.gather(1, mapping[:, None]).sum()) == best


def test_assignment_is_the_nearest_centre() -> None:
    x, centres = torch.randn(50, 4), torch.randn(3, 6, 4)
    index, distance = cluster.assign(x, centres)
    for n, s in itertools.product(range(50), range(3)):
        distances = [float((x[n] - c).square().sum()) for c in centres[s]]
        assert int(index[n, s]) == int(np.argmin(distances))
        assert float(distance[n, s]) == pytest.approx(min(distances), abs=1e-4)


def test_lloyd_is_scikit_learns_from_the_same_centres() -> None:
    x, _ = blobs(500, 6, 10, 0.6)
    starts = torch.stack([x[:6], x[6:12], x[100:106]])
    found = cluster.lloyd(x, starts, tol=0.0)
    inertias = []
    for start in starts:
        reference = KMeans(6, init=start.numpy(), n_init=1, tol=0.0).fit(x.numpy())
        inertias.append(reference.inertia_)
    assert found.inertia == pytest.approx(min(inertias), rel=1e-4)
    best = KMeans(6, init=starts[int(np.argmin(inertias))].numpy(), n_init=1, tol=0.0).fit(x.numpy())
    np.testing.assert_allclose(found.centres.numpy(), best.cluster_centers_, atol=1e-3)


def test_kmeans_is_as_good_as_scikit_learns_and_repeats_itself() -> None:
    x, _ = blobs(800, 8, 12, 1.0)
    x = features.normalise(x)
    found = cluster.kmeans(x, 8, starts=10, seed=3)
    reference = KMeans(8, n_init=10, random_state=0).fit(x.numpy())
    assert found.inertia <= 1.01 * reference.inertia_
    assert torch.equal(found.centres, cluster.kmeans(x, 8, starts=10, seed=3).centres)


def test_an_empty_cluster_moves_to_the_farthest_sample() -> None:
    x = torch.tensor([[0.0], [0.1], [0.2], [9.0]])
    index = torch.zeros(4, 1, dtype=torch.int64)
    centres = cluster.update(x, index, torch.tensor([[4.0], [4.1], [4.2], [40.0]]), 2)
    assert centres[0, 1].item() == 9.0
    assert cluster.lloyd(x, torch.tensor([[[0.1], [1000.0]]])).inertia == pytest.approx(0.02, abs=1e-4)


def test_mutual_information_is_scikit_learns() -> None:
    rng = np.random.default_rng(1)
    for noise in (0.0, 0.3, 1.0):
        y = rng.integers(0, 6, 300)
        c = np.where(rng.random(300) < noise, rng.integers(0, 6, 300), y)
        table = cluster.contingency(torch.from_numpy(c), torch.from_numpy(y), 6)
        expected = normalized_mutual_info_score(y, c)
        assert cluster.mutual_information(table) == pytest.approx(expected, abs=1e-9)


# neighbours


def test_nearest_neighbours_against_a_literal_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "BLOCK_ENTRIES", 1000)  # several blocks
    (x, y), (queries, _) = blobs(150, 4, 6, 0.4), blobs(40, 4, 6, 0.4, seed=1)
    predicted = neighbours.predict(x, y, queries, 4, k=7, temperature=0.1)
    for query, found in zip(queries.double().numpy(), predicted.tolist(), strict=True):
        cosines = [float(query @ r / np.linalg.norm(query) / np.linalg.norm(r)) for r in x.double().numpy()]
        votes = [0.0] * 4
        for i in sorted(range(150), key=lambda i: -cosines[i])[:7]:
            votes[int(y[i])] += math.exp(cosines[i] / 0.1)
        assert found == int(np.argmax(votes))


def test_neighbours_survive_a_tiny_temperature_and_refuse_a_k_out_of_range() -> None:
    x, y = blobs(60, 3, 5, 1.0)
    assert torch.equal(neighbours.predict(x, y, x, 3, k=10, temperature=1e-3), y)
    with pytest.raises(ValueError, match="k=61"):
        neighbours.predict(x, y, x, 3, k=61, temperature=0.1)


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


# the map


def test_affinities_have_the_asked_perplexity_against_a_literal_loop() -> None:
    x, _ = blobs(40, 2, 4, 1.0)
    p = projection.affinities(x, perplexity=8.0).numpy()
    assert p.sum() == pytest.approx(1.0) and np.allclose(p, p.T) and not p.diagonal().any()
    conditional = np.zeros((40, 40))
    points = x.double().numpy()
    for i in range(40):
        squares = np.sum((points - points[i]) ** 2, axis=1)
        low, high = 1e-12, 1e12
        for _ in range(200):
            beta = math.sqrt(low * high)
            row = np.exp(-beta * np.maximum(squares - np.delete(squares, i).min(), 0))
            row[i] = 0
            row /= row.sum()
            entropy = -sum(v * math.log(v) for v in row if v > 0)
            low, high = (beta, high) if entropy > math.log(8.0) else (low, beta)
        conditional[i] = row
    np.testing.assert_allclose(p, (conditional + conditional.T) / 80, rtol=1e-4, atol=1e-8)


def test_tsne_is_as_faithful_as_scikit_learns() -> None:
    x, y = blobs(200, 4, 10, 3.0)
    mine = projection.tsne(x)
    reference = TSNE(init="pca", random_state=0).fit_transform(x.numpy())
    ours, theirs = (trustworthiness(x.numpy(), points) for points in (mine.numpy(), reference))
    assert ours >= theirs - 0.01
    assert torch.equal(neighbours_in_plane(mine, y), y)
    assert torch.equal(mine, projection.tsne(x))


def neighbours_in_plane(points: Tensor, y: Tensor) -> Tensor:
    """Label of each point's nearest other point."""
    return y[torch.cdist(points, points).fill_diagonal_(math.inf).argmin(dim=1)]


def test_principal_components_against_numpy() -> None:
    x, _ = blobs(50, 3, 6, 1.0)
    scores = projection.principal_components(x, 2).numpy()
    values, vectors = np.linalg.eigh(np.cov(x.double().numpy(), rowvar=False, bias=True))
    expected = (x.double().numpy() - x.double().numpy().mean(0)) @ vectors[:, [-1, -2]]
    np.testing.assert_allclose(np.abs(scores), np.abs(expected), atol=1e-5)
    np.testing.assert_allclose(scores.var(axis=0), values[[-1, -2]], rtol=1e-6)
    assert projection.principal_components(torch.ones(5, 1), 2).shape == (5, 2)
    assert torch.isfinite(projection.tsne(torch.ones(20, 3))).all()  # a collapsed encoder still has a figure


# all together


def test_all_probes_on_separable_features_are_right_and_carry_their_protocol() -> None:
    (x, y), (test, test_y) = blobs(600, 5, 16, 6.0), blobs(200, 5, 16, 6.0, seed=1)
    result = probe.evaluate(x, y, test, test_y, PROTOCOL)
    json.dumps(result, allow_nan=False)
    metrics, protocol = result["metrics"], result["protocol"]
    assert set(metrics) == set(protocol) == {"linear", "svm", "kmeans", "knn", "linear_1pct", "linear_10pct"}
    for name in ("linear", "svm", "knn", "linear_10pct"):
        assert metrics[name]["top1"] == 1.0
    assert metrics["kmeans"]["accuracy"] == metrics["kmeans"]["accuracy_matched_on_train"] == 1.0
    assert metrics["linear"]["converged"] and metrics["linear"]["iterations"] > 0
    assert metrics["linear_1pct"]["labels"] == protocol["linear_1pct"]["n_train"] == 5
    assert protocol["svm"]["C"] == 0.01 and protocol["linear"]["n_test"] == 200
    assert result == probe.evaluate(x, y, test, test_y, PROTOCOL)


def test_a_collapsed_encoder_is_at_chance_and_a_diverged_one_is_an_error() -> None:
    y = torch.arange(300) % 5
    flat = torch.full((300, 8), 0.3)
    metrics = probe.evaluate(flat, y, flat[:100], y[:100], PROTOCOL)["metrics"]
    for name in ("linear", "svm", "knn", "linear_1pct"):
        assert metrics[name]["top1"] == pytest.approx(0.2)
    assert metrics["kmeans"]["accuracy"] == pytest.approx(0.2)
    broken = flat.clone()
    broken[3, 2] = math.nan
    with pytest.raises(UserError, match="train features: NaN or infinity in 1 of 300"):
        probe.evaluate(broken, y, flat, y, PROTOCOL)


def test_labels_without_relation_to_the_features_score_at_chance() -> None:
    generator = torch.Generator().manual_seed(0)
    x, test = torch.randn(2000, 8, generator=generator), torch.randn(1000, 8, generator=generator)
    y, test_y = torch.arange(2000) % 5, torch.arange(1000) % 5
    metrics = probe.evaluate(x, y, test, test_y, PROTOCOL)["metrics"]
    for name in ("linear", "svm", "knn", "linear_1pct", "linear_10pct"):
        assert 0.14 < metrics[name]["top1"] < 0.26
    assert metrics["kmeans"]["accuracy"] < 0.28


def test_the_map_is_a_fixed_subset_of_test() -> None:
    x, y = blobs(150, 3, 6, 5.0)
    found = probe.feature_map(x, y, ("a", "b", "c"), PROTOCOL["map"])
    assert len(found["points"]) == len(found["labels"]) == 60 and found["classes"] == ["a", "b", "c"]
    assert found == probe.feature_map(x, y, ("a", "b", "c"), PROTOCOL["map"])
    assert len(probe.feature_map(x, y, ("a", "b", "c"), {"kind": "pca", "points": 500})["points"]) == 150
    with pytest.raises(UserError, match="did you mean 'tsne'"):
        probe.feature_map(x, y, ("a", "b", "c"), {"kind": "tsnee"})


def test_too_few_samples_for_k_is_one_clear_line() -> None:
    x, y = blobs(20, 4, 5, 1.0)
    with pytest.raises(UserError, match=r"knn\.k is 21") as caught:
        probe.evaluate(x, y, x, y, {**PROTOCOL, "knn": {"k": 21}})
    assert "\n" not in str(caught.value)
