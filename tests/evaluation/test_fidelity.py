"""torch-fidelity's numbers against closed forms and literal loops on the same features; samples and limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
import torch_fidelity as package
from bright_half_dataset import CLASSES, SETTINGS, Tree
from PIL import Image
from torch import Tensor

from structgan.datasets import Dataset
from structgan.errors import UserError
from structgan.evaluation import extractor, fidelity, limits, samples, torch_fidelity

SMALL = SETTINGS["fidelity"]


@pytest.fixture(scope="module")
def data(halves: Tree) -> Dataset:
    return halves.dataset


@pytest.fixture(scope="module")
def weights(halves: Tree) -> Path:
    return halves.extractor


def layers(weights: Path, images: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Penultimate features and logits by the classifier itself, in float64."""
    network = extractor.load(weights).network.double()
    with torch.no_grad():
        found, logits = network(images.double() / 127.5 - 1)
    return found.numpy(), logits.numpy()


def test_fid_is_the_distance_of_two_gaussians(data: Dataset, weights: Path) -> None:
    one, two = data.train.images[:150], data.test.images[20:180] // 2 + 40
    found = torch_fidelity.measure(one, two, {**SMALL, "metrics": ["fid"]}, weights)
    assert set(found) == {"fid"}
    a, b = layers(weights, one)[0], layers(weights, two)[0]
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(cov_a @ cov_b).real
    expected = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(cov_a + cov_b - 2 * root)
    assert found["fid"] == pytest.approx(expected, rel=1e-3)


def test_streamed_statistics_are_numpys_where_the_mean_is_large() -> None:
    features = torch.randn(500, 6, generator=torch.Generator().manual_seed(0)) @ torch.randn(6, 6) + 1000
    statistics = torch_fidelity.Statistics()
    for batch in torch.split(features, 37):
        statistics.add(batch)
    found, exact = statistics.result(), features.double().numpy()
    np.testing.assert_allclose(found["mu"], exact.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found["sigma"], np.cov(exact, rowvar=False), rtol=1e-9, atol=1e-9)


def test_fid_alone_keeps_no_features(data: Dataset, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, read = [], torch_fidelity.read

    def watch(*arguments: Any) -> Any:
        found = read(*arguments)
        kept.append(set(found[0]))
        return found

    monkeypatch.setattr(torch_fidelity, "read", watch)
    for metrics, expected in ((["fid"], [set(), set()]), (["fid", "is"], [{"logits"}, set()])):
        kept.clear()
        torch_fidelity.measure(data.train.images[:60], data.test.images[:60], {**SMALL, "metrics": metrics}, weights)
        assert kept == expected


def test_all_metrics_are_those_of_torch_fidelity_itself(data: Dataset, weights: Path) -> None:
    class Images(torch.utils.data.Dataset[Tensor]):
        def __init__(self, images: Tensor) -> None:
            self.images = images

        def __len__(self) -> int:
            return len(self.images)

        def __getitem__(self, index: int) -> Tensor:
            return self.images[index]

    one, two = data.train.images[:150], data.test.images[:130] // 2 + 40
    expected = package.calculate_metrics(
        input1=Images(one), input2=Images(two), feature_extractor=torch_fidelity.EMBEDDED, cache=False, cuda=False,
        feature_extractor_weights_path=str(weights), isc=True, fid=True, kid=True, prc=True, verbose=False,
        isc_splits=SMALL["is_splits"], kid_subsets=SMALL["kid_subsets"], rng_seed=SMALL["seed"],
        kid_subset_size=SMALL["kid_subset_size"], prc_neighborhood=SMALL["precision_recall_k"],
        batch_size=SMALL["batch_size"], save_cpu_ram=True,
    )  # fmt: skip
    found = torch_fidelity.measure(one, two, SMALL, weights)
    named = {torch_fidelity.RESULTS[key]: value for key, value in expected.items()}
    assert found == pytest.approx(named, rel=1e-4, abs=1e-6)


def test_the_same_images_are_perfect_fresh_ones_close_and_noise_far(data: Dataset, weights: Path) -> None:
    train, test = data.train.images[:200], data.test.images
    noise = torch.randint(0, 256, test.shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    same, fresh, far = (torch_fidelity.measure(images, train, SMALL, weights) for images in (train, test, noise))
    assert abs(same["fid"]) < 1e-3 and same["precision"] == same["recall"] == 1.0
    assert abs(same["fid"]) < fresh["fid"] < 0.1 * far["fid"]
    assert abs(fresh["kid"]) < 0.1 * far["kid"]
    assert far["precision"] < 0.1 < 0.5 < fresh["precision"]
    assert far["is"] < fresh["is"] <= len(CLASSES)


def test_samples_are_the_inverse_of_the_networks_scale_and_the_grid_shows_each(tmp_path: Path) -> None:
    values = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(samples.to_uint8(values.float() / 127.5 - 1), values)
    assert samples.to_uint8(torch.tensor([-1.2, 1.2])).tolist() == [0, 255]
    with pytest.raises(UserError, match="NaN"):
        samples.to_uint8(torch.tensor([0.0, float("nan")]))
    images = torch.randint(0, 256, (64, 3, 4, 6), dtype=torch.uint8)
    samples.write_grid(images, tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as picture:
        scale = picture.width // (8 * 8 + 2)
        assert scale > 1 and picture.getpixel((0, 0)) == (255, 255, 255)
        assert picture.getpixel(((2 + 8) * scale, (2 + 6) * scale)) == tuple(images[9, :, 0, 0].tolist())


def test_the_reference_is_what_methods_learn_from(data: Dataset) -> None:
    unlabelled = torch.zeros(70, 3, 16, 16, dtype=torch.uint8)
    with_more = Dataset("more", CLASSES, 16, "0", "", data.train, data.test, unlabelled)
    assert fidelity.pick_reference(data, SMALL)[0] == "train"
    name, images = fidelity.pick_reference(with_more, SMALL)
    assert name == "unlabelled" and images is unlabelled
    some = {**SMALL, "reference": "test", "n_reference": 90}
    name, images = fidelity.pick_reference(with_more, some)
    assert name == "test" and len(images) == 90 and torch.equal(images, fidelity.pick_reference(data, some)[1])


@pytest.mark.parametrize(
    ("settings", "sizes", "message"),
    [
        ({"kid_subset_size": 150}, {"train": 400}, r"kid_subset_size: 150 is too large .*at most 120"),
        ({"n_generated": 500, "kid_subset_size": 450}, {"train": 400}, r"kid_subset_size: 450 .*at most 400"),
        ({"kid_subset_size": 90}, {"train": 400, "unlabelled": 80}, r"kid_subset_size: 90 .*at most 80"),
        ({"n_reference": 401}, {"train": 400}, r"n_reference: 401 .*at most 400"),
        ({"n_reference": 50}, {"train": 400}, r"kid_subset_size: 60 .*at most 50"),
        ({"precision_recall_k": 120}, {"train": 400}, r"precision_recall_k: 120 .*at most 119"),
        ({"is_splits": 121}, {"train": 400}, r"is_splits: 121 .*at most 120"),
        ({"reference": "test", "kid_subset_size": 90}, {"train": 400, "test": 80}, r"kid_subset_size: 90"),
    ],
)
def test_settings_that_the_data_is_too_small_for_are_one_line(settings: Any, sizes: Any, message: str) -> None:
    limits.check({"fidelity": SMALL}, sizes)
    with pytest.raises(UserError, match=message) as caught:
        limits.check({"fidelity": {**SMALL, **settings}}, sizes)
    assert "\n" not in str(caught.value)
    limits.check({"fidelity": {**SMALL, **settings}}, {})  # nothing is known before the data is prepared
