"""torch-fidelity's numbers on the embedded classifier's features; samples, the reference and limits."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from evaluated_tree import CLASSES, SETTINGS, Tree
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
    samples.write_grid(images, tmp_path / "grid.png", images[56:])
    with Image.open(tmp_path / "grid.png") as picture:
        below = 2 + 4 + 2 + samples.GAP
        assert picture.getpixel(((2 + 8) * scale, 2 * scale)) == tuple(images[57, :, 0, 0].tolist())
        assert picture.getpixel(((2 + 8) * scale, (below - 1) * scale)) == (255, 255, 255)
        assert picture.getpixel(((2 + 8) * scale, (below + 2 + 6) * scale)) == tuple(images[9, :, 0, 0].tolist())


def test_the_reference_is_what_methods_learn_from(data: Dataset) -> None:
    unlabelled = torch.zeros(70, 3, 16, 16, dtype=torch.uint8)
    with_more = replace(data, unlabelled=unlabelled)
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
    with pytest.raises(UserError, match=message):
        limits.check({"fidelity": {**SMALL, **settings}}, sizes)
    limits.check({"fidelity": {**SMALL, **settings}}, {})  # nothing is known before the data is prepared
