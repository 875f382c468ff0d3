"""torch-fidelity's numbers against closed forms and literal loops on the same features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
import torch_fidelity
from halves import CLASSES, SETTINGS
from torch import Tensor

from structgan import datasets
from structgan.evaluation import backend, extractor


def layers(weights: Path, images: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Penultimate features and logits by the classifier itself, in float64."""
    network = extractor.load(weights).network.double()
    with torch.no_grad():
        found, logits = network(images.double() / 127.5 - 1)
    return found.numpy(), logits.numpy()


def test_fid_is_the_distance_of_two_gaussians(data: datasets.Dataset, weights: Path) -> None:
    one, two = data.train.images[:150], data.test.images[20:180] // 2 + 40
    found = backend.measure(one, two, {**SETTINGS, "metrics": ["fid"]}, weights)
    assert set(found) == {"fid"}
    a, b = layers(weights, one)[0], layers(weights, two)[0]
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(cov_a @ cov_b).real
    expected = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(cov_a + cov_b - 2 * root)
    assert found["fid"] == pytest.approx(expected, rel=1e-3)


def test_streamed_statistics_are_numpys_where_the_mean_is_large() -> None:
    features = torch.randn(500, 6, generator=torch.Generator().manual_seed(0)) @ torch.randn(6, 6) + 1000
    statistics = backend.Statistics()
    for batch in torch.split(features, 37):
        statistics.add(batch)
    found, exact = statistics.result(), features.double().numpy()
    np.testing.assert_allclose(found["mu"], exact.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found["sigma"], np.cov(exact, rowvar=False), rtol=1e-9, atol=1e-9)


def test_fid_alone_keeps_no_features(data: datasets.Dataset, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, read = [], backend.read

    def watch(*arguments: Any) -> Any:
        found = read(*arguments)
        kept.append(set(found[0]))
        return found

    monkeypatch.setattr(backend, "read", watch)
    for metrics, expected in ((["fid"], [set(), set()]), (["fid", "is"], [{"logits"}, set()])):
        kept.clear()
        backend.measure(data.train.images[:60], data.test.images[:60], {**SETTINGS, "metrics": metrics}, weights)
        assert kept == expected


def test_all_metrics_are_those_of_torch_fidelity_itself(data: datasets.Dataset, weights: Path) -> None:
    class Images(torch.utils.data.Dataset[Tensor]):
        def __init__(self, images: Tensor) -> None:
            self.images = images

        def __len__(self) -> int:
            return len(self.images)

        def __getitem__(self, index: int) -> Tensor:
            return self.images[index]

    one, two = data.train.images[:150], data.test.images[:130] // 2 + 40
    expected = torch_fidelity.calculate_metrics(
        input1=Images(one), input2=Images(two), feature_extractor=backend.EMBEDDED, cache=False, cuda=False,
        feature_extractor_weights_path=str(weights), isc=True, fid=True, kid=True, prc=True, verbose=False,
        isc_splits=SETTINGS["is_splits"], kid_subsets=SETTINGS["kid_subsets"], rng_seed=SETTINGS["seed"],
        kid_subset_size=SETTINGS["kid_subset_size"], prc_neighborhood=SETTINGS["precision_recall_k"],
        batch_size=SETTINGS["batch_size"], save_cpu_ram=True,
    )  # fmt: skip
    found = backend.measure(one, two, SETTINGS, weights)
    assert found == {backend.RESULTS[key]: pytest.approx(value, rel=1e-4, abs=1e-6) for key, value in expected.items()}


def test_the_inception_score_against_a_literal_loop(data: datasets.Dataset, weights: Path) -> None:
    images = data.test.images[:102]
    found = backend.measure(images, images, {**SETTINGS, "metrics": ["is"]}, weights)
    order = np.random.RandomState(SETTINGS["seed"]).permutation(102)
    logits = layers(weights, images)[1][order]
    scores = []
    for split in range(4):
        part = logits[split * 102 // 4 : (split + 1) * 102 // 4]
        p = np.exp(part) / np.exp(part).sum(axis=1, keepdims=True)
        mean = p.mean(axis=0)
        scores.append(np.exp(np.mean([sum(v * np.log(v / m) for v, m in zip(row, mean, strict=True)) for row in p])))
    assert found["is"] == pytest.approx(np.mean(scores), rel=1e-4)
    assert found["is_std"] == pytest.approx(np.std(scores), rel=1e-2, abs=1e-5)


def test_kid_against_a_literal_loop(data: datasets.Dataset, weights: Path) -> None:
    one, two = data.train.images[:80], data.test.images[:70] // 2
    found = backend.measure(
        one, two, {**SETTINGS, "metrics": ["kid"], "kid_subsets": 2, "kid_subset_size": 30}, weights
    )
    a, b = layers(weights, one)[0], layers(weights, two)[0]
    rng, values = np.random.RandomState(SETTINGS["seed"]), []
    for _ in range(2):
        x, y = a[rng.choice(80, 30, replace=False)], b[rng.choice(70, 30, replace=False)]
        total = 0.0
        for i in range(30):
            for j in range(30):
                inside = kernel(x[i], x[j]) + kernel(y[i], y[j]) if i != j else 0.0
                total += inside / (30 * 29) - 2 * kernel(x[i], y[j]) / 900
        values.append(total)
    assert found["kid"] == pytest.approx(np.mean(values), rel=1e-3)
    assert found["kid_std"] == pytest.approx(np.std(values), rel=1e-2, abs=1e-5)


def kernel(x: np.ndarray, y: np.ndarray) -> float:
    return float((x @ y / len(x) + 1) ** 3)


def test_precision_and_recall_against_a_literal_loop(data: datasets.Dataset, weights: Path) -> None:
    one, two = data.train.images[:60].clone(), data.test.images[:50]
    one[20:] = one[20:] // 2 + 30
    found = backend.measure(one, two, {**SETTINGS, "metrics": ["prc"]}, weights)
    generated, real = layers(weights, one)[0], layers(weights, two)[0]

    def inside(points: np.ndarray, support: np.ndarray) -> float:
        hits = 0
        for point in points:
            for centre in support:
                radius = sorted(np.linalg.norm(support - centre, axis=1))[3]  # 0 is itself
                if np.linalg.norm(point - centre) <= radius:
                    hits += 1
                    break
        return hits / len(points)

    precision, recall = inside(generated, real), inside(real, generated)
    assert found["precision"] == pytest.approx(precision, abs=1.5 / 60)
    assert found["recall"] == pytest.approx(recall, abs=1.5 / 50)
    assert 0 < precision < 1 and recall > 0
    f_score = 2 * found["precision"] * found["recall"] / (found["precision"] + found["recall"])
    assert found["f_score"] == pytest.approx(f_score)


def test_the_same_images_are_perfect_fresh_ones_close_and_noise_far(data: datasets.Dataset, weights: Path) -> None:
    train, test = data.train.images[:200], data.test.images
    noise = torch.randint(0, 256, test.shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    same, fresh, far = (backend.measure(images, train, SETTINGS, weights) for images in (train, test, noise))
    assert abs(same["fid"]) < 1e-3 and same["precision"] == same["recall"] == 1.0
    assert abs(same["fid"]) < fresh["fid"] < 0.1 * far["fid"]
    assert abs(fresh["kid"]) < 0.1 * far["kid"]
    assert far["precision"] < 0.1 < 0.5 < fresh["precision"]
    assert far["is"] < fresh["is"] <= len(CLASSES)


def test_nothing_is_remembered_between_calls(data: datasets.Dataset, weights: Path, tmp_path: Path) -> None:
    one, two = data.train.images[:120], data.test.images[:120]
    first = backend.measure(one, two, SETTINGS, weights)
    other = backend.measure(255 - one, two, SETTINGS, weights)
    assert other["fid"] > first["fid"]
    assert first == backend.measure(one, two, SETTINGS, weights)
    with pytest.raises(ValueError, match="uint8"):
        backend.measure(one.float(), two, SETTINGS, weights)
