"""All probes together: right on separable features, at chance on others, and the map of the test split."""

from __future__ import annotations

import json
import math

import pytest
import torch
from blobs import blobs

from structgan.errors import UserError
from structgan.evaluation import probe

PROTOCOL = {
    "linear": {"C": 1.0, "max_iter": 2000, "tol": 1e-4},
    "svm": {"C": 0.01, "max_iter": 2000, "tol": 1e-4},
    "kmeans": {"n_init": 4, "max_iter": 300, "tol": 1e-4},
    "kmeans_release": {"n_init": 3, "max_iter": 300, "tol": 1e-6},
    "knn": {"k": 5, "temperature": 0.07},
    "few_labels": {"fractions": [0.01, 0.1]},
    "map": {"points": 60, "kind": "tsne", "perplexity": 30, "iterations": 500},
}


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


def test_the_releases_kmeans_is_fitted_and_scored_on_test_by_readout() -> None:
    (x, y), (test, test_y) = blobs(600, 5, 16, 6.0), blobs(200, 5, 16, 6.0, seed=1)
    noise = torch.randn(200, 8, generator=torch.Generator().manual_seed(0))
    result = probe.evaluate(x, y, test, test_y, PROTOCOL, readouts={"h": 3 * test, "e": test, "h_live": noise})
    found, protocol = result["metrics"]["kmeans_release"], result["protocol"]["kmeans_release"]
    assert found["h"] == found["e"] == 1.0 and found["h_live"] < 0.4 and found["converged"]
    assert protocol["split"] == "fitted and scored on test" and protocol["n_init"] == 3
    other = probe.evaluate(x.flip(0) * 2, y, test, test_y, PROTOCOL, readouts={"h": 3 * test})
    assert other["metrics"]["kmeans_release"]["h"] == 1.0 and other["protocol"]["kmeans_release"] == protocol


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
    assert (
        len(probe.feature_map(x, y, ("a", "b", "c"), {**PROTOCOL["map"], "kind": "pca", "points": 500})["points"])
        == 150
    )
    with pytest.raises(UserError, match="did you mean 'tsne'"):
        probe.feature_map(x, y, ("a", "b", "c"), {**PROTOCOL["map"], "kind": "tsnee"})


def test_the_map_keeps_classes_apart_and_needs_four_points() -> None:
    x, y = blobs(200, 4, 10, 3.0)
    found = probe.feature_map(x, y, ("a", "b", "c", "d"), {**PROTOCOL["map"], "points": 200})
    points, labels = torch.tensor(found["points"]), torch.tensor(found["labels"])
    assert torch.equal(labels[torch.cdist(points, points).fill_diagonal_(torch.inf).argmin(dim=1)], labels)
    collapsed = probe.feature_map(torch.ones(20, 3), y[:20], ("a",), {**PROTOCOL["map"], "points": 20})
    assert torch.isfinite(torch.tensor(collapsed["points"])).all()
    with pytest.raises(UserError, match="needs at least 4 points, not 3"):
        probe.feature_map(x[:3], y[:3], ("a",), PROTOCOL["map"])


def test_too_few_samples_for_k_is_one_clear_line() -> None:
    x, y = blobs(20, 4, 5, 1.0)
    with pytest.raises(UserError, match=r"knn\.k is 21") as caught:
        probe.evaluate(x, y, x, y, {**PROTOCOL, "knn": {"k": 21, "temperature": 0.07}})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("block", ["linear", "svm", "kmeans", "knn", "few_labels"])
def test_a_value_that_the_configuration_does_not_give_is_no_value(block: str) -> None:
    x, y = blobs(60, 3, 5, 2.0)
    for key in PROTOCOL[block]:
        given = {name: value for name, value in PROTOCOL[block].items() if name != key}
        with pytest.raises(UserError, match=rf"evaluation\.{block}\.{key} is missing"):
            probe.evaluate(x, y, x, y, {**PROTOCOL, block: given})
    with pytest.raises(UserError, match=r"evaluation\.map\.points is missing"):
        probe.feature_map(x, y, ("a", "b", "c"), {"kind": "pca"})
