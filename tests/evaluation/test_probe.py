"""Features, the probes of them, and the map: right on separable features, at chance on others."""

import hashlib
import json
import math

import numpy as np
import pytest
import torch
from blobs import blobs
from evaluated_tree import SETTINGS
from torch import Tensor

from structgan.errors import UserError
from structgan.evaluation import features, knn, probe
from structgan.evaluation.feature_map import feature_map
from structgan.evaluation.features import Features

TOP1 = ("linear", "svm", "knn", "linear_1pct", "linear_10pct")


def test_features_are_read_in_batches_and_wrong_ones_are_refused() -> None:
    images = torch.randint(0, 256, (23, 3, 8, 8), dtype=torch.uint8)
    found = features.extract(lambda x: x.flatten(1), images, batch_size=10)
    np.testing.assert_allclose(found.numpy(), images.flatten(1).numpy() / 127.5 - 1, atol=1e-6)
    with pytest.raises(ValueError, match="must return"):
        features.extract(lambda x: x, images)
    with pytest.raises(UserError, match="NaN or infinity in 23 of 23 rows"):
        features.extract(lambda x: x.flatten(1) / 0, images)


def test_the_module_hash_covers_names_shapes_and_bytes() -> None:
    module = torch.nn.Linear(2, 3)
    expected = hashlib.sha256()
    for name, shape in (("bias", "(3,)"), ("weight", "(3, 2)")):
        expected.update(f"{name} torch.float32 {shape}\n".encode())
        expected.update(module.state_dict()[name].numpy().tobytes())
    assert features.module_hash(module) == expected.hexdigest() != features.module_hash(torch.nn.Linear(2, 3))


def test_standardizing_uses_train_and_leaves_constant_features_at_zero() -> None:
    train, _ = blobs(500, 3, 6, 2.0)
    train[:, 2], train[:, 4] = 0.1, 1e6
    test = train[:50] + 1
    a, b = features.standardize(train, test)
    keep = [0, 1, 3, 5]
    mean, deviation = train.double().mean(0), train.double().std(0, correction=0)
    torch.testing.assert_close(b[:, keep], ((test - mean) / deviation)[:, keep].float(), atol=1e-5, rtol=1e-5)
    assert not a[:, [2, 4]].any() and not b[:, [2, 4]].any()


def test_nearest_neighbors_against_a_literal_loop() -> None:
    (x, y), (queries, _) = blobs(150, 4, 6, 0.4), blobs(40, 4, 6, 0.4, seed=1)
    predicted = knn.predict(x, y, queries, k=7, temperature=0.1)
    for query, found in zip(queries.double().numpy(), predicted.tolist(), strict=True):
        cosines = [float(query @ r / np.linalg.norm(query) / np.linalg.norm(r)) for r in x.double().numpy()]
        votes = [0.0] * 4
        for i in sorted(range(150), key=lambda i: -cosines[i])[:7]:
            votes[int(y[i])] += math.exp(cosines[i] / 0.1)
        assert found == int(np.argmax(votes))
    far, labels = blobs(60, 3, 5, 1.0)
    assert torch.equal(knn.predict(far, labels, far, k=10, temperature=1e-3), labels)


def scores(train: Tensor, y: Tensor, test: Tensor, test_y: Tensor, **readouts: Tensor):
    return probe.evaluate(Features(train, y, test, test_y), SETTINGS, readouts)


def test_all_probes_on_separable_features_are_right_and_have_a_protocol() -> None:
    (x, y), (test, test_y) = blobs(600, 5, 16, 6.0), blobs(200, 5, 16, 6.0, seed=1)
    noise = torch.randn(200, 8, generator=torch.Generator().manual_seed(0))
    found = scores(x, y, test, test_y, h=3 * test, e=test, h_live=noise)
    json.dumps([found.metrics, found.protocol], allow_nan=False)
    assert set(found.metrics) == set(found.protocol) == {*TOP1, "kmeans", "kmeans_release"}
    assert all(found.metrics[name]["top1"] == 1.0 for name in ("linear", "svm", "knn", "linear_10pct"))
    assert found.metrics["kmeans"]["accuracy"] == found.metrics["kmeans"]["accuracy_matched_on_train"] == 1.0
    assert found.metrics["kmeans"]["nmi"] == pytest.approx(1.0) and found.metrics["linear"]["converged"]
    assert found.metrics["linear_1pct"]["labels"] == found.protocol["linear_1pct"]["n_train"] == 5
    release = found.metrics["kmeans_release"]
    assert release["h"] == release["e"] == 1.0 and release["h_live"] < 0.4


def test_collapsed_and_unrelated_features_are_at_chance_and_diverged_ones_an_error() -> None:
    y, generator = torch.arange(2000) % 5, torch.Generator().manual_seed(0)
    flat, noise = torch.full((300, 8), 0.3), torch.randn(2000, 8, generator=generator)
    collapsed = scores(flat, y[:300], flat[:100], y[:100]).metrics
    unrelated = scores(noise, y, torch.randn(1000, 8, generator=generator), y[:1000]).metrics
    for name in TOP1:
        assert collapsed[name]["top1"] == pytest.approx(0.2) and 0.14 < unrelated[name]["top1"] < 0.26
    assert collapsed["kmeans"]["accuracy"] == pytest.approx(0.2) and unrelated["kmeans"]["accuracy"] < 0.28
    flat[3, 2] = math.nan
    with pytest.raises(UserError, match="train features: NaN or infinity in 1 of 300"):
        Features(flat, y[:300], flat, y[:300])


@pytest.mark.parametrize("kind", ["tsne", "pca"])
def test_the_map_is_a_fixed_subset_of_test_that_keeps_classes_apart(kind: str) -> None:
    x, y = blobs(200, 4, 10, 6.0)
    settings = {**SETTINGS["map"], "kind": kind, "points": 60}
    found = feature_map(x, y, ("a", "b", "c", "d"), settings)
    assert found == feature_map(x, y, ("a", "b", "c", "d"), settings) and found["classes"] == ["a", "b", "c", "d"]
    points, labels = torch.tensor(found["points"]), torch.tensor(found["labels"])
    nearest = torch.cdist(points, points).fill_diagonal_(torch.inf).argmin(dim=1)
    assert points.shape == (60, 2) and features.accuracy(labels[nearest], labels) > 0.9
    collapsed = feature_map(torch.ones(20, 3), y[:20], ("a",), settings)
    assert torch.isfinite(torch.tensor(collapsed["points"])).all()
