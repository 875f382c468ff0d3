"""Generation metrics: torch-fidelity's numbers against closed forms and literal loops on the same features."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from PIL import Image
from torch import Tensor

from structgan import config, datasets, files, method
from structgan.datasets import Parts, Split, store
from structgan.errors import UserError
from structgan.metrics import backend, extractor, features, fidelity, inception, probe, samples
from structgan.models.classifier import Classifier

CLASSES = ("low", "high", "left", "right")
SMALL = {"width": 4, "epochs": 4, "batch_size": 32, "lr": 0.01}
SETTINGS = fidelity.resolve(
    {"n_generated": 120, "batch_size": 50, "kid_subset_size": 60, "kid_subsets": 7, "is_splits": 4}
)


def pictures(n: int, seed: int) -> Split:
    """Noise with one bright half: a task that a tiny classifier learns in a second."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 4
    images = torch.randint(0, 120, (n, 3, 16, 16), generator=generator)
    for image, label in zip(images, labels.tolist(), strict=True):
        half = (image[:, 8:], image[:, :8], image[:, :, :8], image[:, :, 8:])[label]
        half += 100
    return Split(images.to(torch.uint8), labels)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data set, a trained extractor and the run of a GAN as its training leaves it."""
    folder = tmp_path_factory.mktemp("fidelity")
    store.save(folder / "data.safetensors", Parts(CLASSES, pictures(400, 0), pictures(200, 1)), {"name": "halves"})
    extractor.train(folder / "data.safetensors", SMALL, folder / "extractor.safetensors", "cpu")
    for name in ("plain_gan", "random"):
        made_run(folder / name, name)
    protocol = {"fidelity": {**SETTINGS, "n_generated": 120}, "map": {"points": 50}, "knn": {"k": 5}}
    files.write_json(folder / "protocol.json", protocol)
    return folder


def made_run(folder: Path, name: str) -> None:
    """A run folder with fresh weights of a demo method."""
    cell = {"dataset": "digits", "method": name, "augmentation": "none", "variant": "base", "seed": 0}
    described = config.run_config(config.load([Path(__file__).parents[1] / "workflow/config/demo.yaml"]), cell)
    files.write_json(folder / "config.json", described)
    torch.manual_seed(0)
    built = method.build(described, len(CLASSES))
    metadata = {"identity": described["identity"], "num_classes": str(len(CLASSES))}
    files.save_tensors(folder / "encoder.safetensors", built.encoder.state_dict(), metadata)
    if hasattr(built, "generator"):
        files.save_tensors(folder / "generator.safetensors", built.generator.state_dict(), metadata)


@pytest.fixture(scope="module")
def data(place: Path) -> datasets.Dataset:
    return datasets.load(place / "data.safetensors")


@pytest.fixture(scope="module")
def weights(place: Path) -> Path:
    return place / "extractor.safetensors"


def layers(weights: Path, images: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Penultimate features and logits by the classifier itself, in float64."""
    network = extractor.load(weights).network.double()
    with torch.no_grad():
        found, logits = network(images.double() / 127.5 - 1)
    return found.numpy(), logits.numpy()


# the numbers


def test_fid_is_the_distance_of_two_gaussians(data: datasets.Dataset, weights: Path) -> None:
    one, two = data.train.images[:150], data.test.images[20:180] // 2 + 40
    found = backend.measure(one, two, {**SETTINGS, "metrics": ["fid"]}, weights)
    assert set(found) == {"fid"}
    a, b = layers(weights, one)[0], layers(weights, two)[0]
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(cov_a @ cov_b).real
    expected = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(cov_a + cov_b - 2 * root)
    assert found["fid"] == pytest.approx(expected, rel=1e-3)


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


# the embedded extractor


def test_the_extractor_learns_and_says_what_it_is(place: Path, data: datasets.Dataset, weights: Path) -> None:
    trained = extractor.load(weights)
    assert trained.test_accuracy >= 0.95
    predicted = extractor.classify(trained.network, data.test.images)
    assert features.accuracy(predicted, data.test.labels) == trained.test_accuracy
    assert trained.content_hash == data.content_hash and trained.dataset == "halves"
    assert trained.settings == {**extractor.DEFAULTS, **SMALL}
    assert not trained.network.training and not any(p.requires_grad for p in trained.network.parameters())


def test_the_extractor_repeats_itself_and_does_not_touch_the_global_seed(place: Path, weights: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    again = extractor.train(place / "data.safetensors", SMALL, place / "again.safetensors", "cpu")
    assert torch.equal(torch.rand(1), expected)
    assert again["sha256"] == extractor.load(weights).sha256


def test_a_damaged_extractor_is_refused(place: Path, weights: Path, tmp_path: Path) -> None:
    tensors, metadata = files.load_tensors(weights)
    tensors["head.bias"] = tensors["head.bias"] + 1e-3
    files.save_tensors(tmp_path / "changed.safetensors", tensors, metadata)
    (tmp_path / "short.safetensors").write_bytes(weights.read_bytes()[:-100])
    for name, message in (("changed", "do not have the hash"), ("short", "truncated or damaged"), ("none", "no such")):
        with pytest.raises(UserError, match=message):
            extractor.load(tmp_path / f"{name}.safetensors")
    with pytest.raises(UserError, match="not an extractor"):
        extractor.load(place / "data.safetensors")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"widht": 8}, "did you mean 'width'"),
        ({"epochs": 0}, r"extractor\.epochs: 0 is not a whole number of at least 1"),
        ({"lr": "fast"}, r"extractor\.lr: 'fast' is not a positive number"),
        ({"seed": -1}, r"extractor\.seed: -1 is not a whole number of at least 0"),
    ],
)
def test_wrong_settings_of_the_extractor(place: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        extractor.train(place / "data.safetensors", settings, place / "never.safetensors", "cpu")
    assert not (place / "never.safetensors").exists()


def test_shifts_are_whole_pixels_of_each_image() -> None:
    images = torch.arange(6 * 64, dtype=torch.int64).view(6, 1, 8, 8).expand(6, 3, 8, 8)
    moved = extractor.shifted(images, 2, torch.Generator().manual_seed(0))
    found = set()
    for image, result in zip(images, moved, strict=True):
        padded = torch.nn.functional.pad(image[None].double(), (2, 2, 2, 2), mode="replicate")[0].long()
        fits = [
            (top, left)
            for top in range(5)
            for left in range(5)
            if torch.equal(padded[:, top : top + 8, left : left + 8], result)
        ]
        assert len(fits) == 1
        found.add(fits[0])
    assert len(found) > 1
    assert extractor.shifted(images, 0, torch.Generator()) is images


@pytest.mark.parametrize("size", [8, 12, 16, 32, 96])
def test_the_classifier_takes_every_image_size(size: int) -> None:
    network = Classifier(size, classes=7, width=4)
    found, logits = network(torch.zeros(2, 3, size, size))
    assert found.shape == (2, network.features) == (2, 16) and logits.shape == (2, 7)
    with pytest.raises(ValueError, match="image_size 4"):
        Classifier(4, classes=7)


# Inception


def test_inception_runs_on_given_weights(
    data: datasets.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    name = "torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url"
    with monkeypatch.context() as patch, torch.random.fork_rng():
        torch.manual_seed(0)
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        patch.setattr(name, lambda *_, **__: {})
        network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
    torch.save(network.state_dict(), tmp_path / "inception.pth")
    settings = {**SETTINGS, "extractor": "inception", "weights": str(tmp_path / "inception.pth"), "metrics": ["prc"]}
    path, about = fidelity.pick_weights(settings, None, data)
    assert about["extractor_sha256"] == files.sha256(path) and "299" in about["resizer"]
    found = backend.measure(data.train.images[:4], data.train.images[:4], settings, path)
    assert found["precision"] == found["recall"] == 1.0


def test_inception_without_weights_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"fidelity\.weights: .*no such file"):
        inception.weights(tmp_path / "none.pth")
    (tmp_path / "broken.pth").write_bytes(b"not weights")
    with pytest.raises(UserError, match="damaged"):
        inception.weights(tmp_path / "broken.pth")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    monkeypatch.setattr(inception, "URL", "http://127.0.0.1:9/weights-inception.pth")  # nobody answers here
    with pytest.raises(UserError, match=r"cannot fetch http://127.0.0.1:9/.*fidelity\.weights") as caught:
        inception.weights()
    assert "\n" not in str(caught.value) and str(tmp_path / "hub") in str(caught.value)
    assert not [path for path in (tmp_path / "hub").rglob("*") if path.is_file()]


def test_a_download_is_kept_and_a_wrong_one_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"a": torch.zeros(2)}, tmp_path / "published.pth")
    digest = files.sha256(tmp_path / "published.pth")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    monkeypatch.setattr(inception, "URL", (tmp_path / "published.pth").as_uri())
    with pytest.raises(UserError, match="invalid hash value"):
        inception.weights()
    assert not [path for path in (tmp_path / "hub").rglob("*") if path.is_file()]
    monkeypatch.setattr(inception, "SHA256_PREFIX", digest[:8])
    found = inception.weights()
    assert files.sha256(found) == digest and found.is_relative_to(tmp_path / "hub")


# samples


def test_samples_are_the_inverse_of_the_networks_scale() -> None:
    values = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(samples.to_uint8(values.float() / 127.5 - 1), values)
    assert samples.to_uint8(torch.tensor([-1.2, 1.2])).tolist() == [0, 255]
    with pytest.raises(UserError, match="NaN"):
        samples.to_uint8(torch.tensor([0.0, float("nan")]))


def test_the_grid_shows_each_image_in_its_place(tmp_path: Path) -> None:
    images = torch.randint(0, 256, (5, 3, 4, 6), dtype=torch.uint8)
    sheet = samples.grid(images, columns=3)
    assert sheet.shape == (3, 2 * 6 + 2, 3 * 8 + 2)
    assert torch.equal(sheet[:, 8:12, 10:16], images[4])
    assert (sheet[:, 8:12, 18:24] == 255).all()
    samples.write_grid(images, tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as picture:
        scale = picture.width // (8 * 8 + 2)
        assert scale > 1 and picture.getpixel((2 * scale, 2 * scale)) == tuple(images[0, :, 0, 0].tolist())


# a whole run


def test_a_run_is_measured_with_its_protocol_and_samples(place: Path, weights: Path) -> None:
    folder = place / "plain_gan"
    fidelity.run(folder, place / "data.safetensors", place / "protocol.json", weights, "cpu")
    found = files.read_json(folder / "fidelity.json")
    assert set(found["metrics"]) == set(backend.RESULTS.values())
    assert found["identity"] == files.read_json(folder / "config.json")["identity"]
    protocol = found["protocol"]
    assert (protocol["n_generated"], protocol["n_reference"], protocol["reference"]) == (120, 400, "train")
    assert protocol["extractor_sha256"] == extractor.load(weights).sha256 and protocol["resizer"] == "none"
    assert protocol["backend"].startswith("torch-fidelity 0.") and protocol["dtype"] == "uint8"
    with Image.open(folder / "samples.png") as picture:
        assert picture.width == picture.height >= 8 * 18
    picture_before = (folder / "samples.png").read_bytes()
    fidelity.run(folder, place / "data.safetensors", place / "protocol.json", weights, "cpu")
    assert files.read_json(folder / "fidelity.json")["metrics"] == found["metrics"]
    assert (folder / "samples.png").read_bytes() == picture_before


def test_a_run_is_probed(place: Path) -> None:
    folder = place / "random"
    before = (folder / "encoder.safetensors").read_bytes()
    probe.run(folder, place / "data.safetensors", place / "protocol.json", "cpu")
    found = files.read_json(folder / "probe.json")
    loaded = method.load_run(folder)
    assert found["encoder"]["sha256"] == features.module_hash(loaded.encoder)
    assert found["encoder"]["dim"] == loaded.encode(torch.zeros(1, 3, 16, 16)).shape[1]
    assert found["metrics"]["linear"]["top1"] > 0.9  # a bright half is easy even for random features
    assert found["dataset"]["classes"] == 4 and len(found["map"]["points"]) == 50
    assert (folder / "encoder.safetensors").read_bytes() == before


def test_a_method_without_samples_and_a_foreign_extractor_are_refused(
    place: Path, weights: Path, tmp_path: Path
) -> None:
    data_file, protocol = place / "data.safetensors", place / "protocol.json"
    with pytest.raises(UserError, match=r"no sample\(\)"):
        fidelity.run(place / "random", data_file, protocol, weights, "cpu")
    store.save(tmp_path / "other.safetensors", Parts(CLASSES, pictures(80, 5), pictures(80, 6)), {"name": "other"})
    with pytest.raises(UserError, match="was trained on another"):
        fidelity.run(place / "plain_gan", tmp_path / "other.safetensors", protocol, weights, "cpu")
    with pytest.raises(UserError, match="needs a trained extractor"):
        fidelity.run(place / "plain_gan", data_file, protocol, None, "cpu")
    assert not (place / "random" / "fidelity.json").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kid_subset_size": 150}, r"kid_subset_size: 150 is too large .*at most 120"),
        ({"n_generated": 500, "kid_subset_size": 450}, r"kid_subset_size: 450 .*at most 400"),
        ({"n_reference": 401}, r"n_reference: 401 .*at most 400"),
        ({"precision_recall_k": 120}, r"precision_recall_k: 120 .*at most 119"),
        ({"is_splits": 121}, r"is_splits: 121 .*at most 120"),
        ({"n_generated": 0}, r"n_generated: 0 is not a positive whole number"),
        ({"reference": "tset"}, r"unknown reference 'tset', did you mean 'test'"),
        ({"extractor": "clip"}, r"unknown extractor 'clip'.*embedded, inception"),
        ({"metrics": ["fdi"]}, r"unknown metric 'fdi', did you mean 'fid'"),
        ({"metrics": []}, r"fidelity\.metrics: is empty"),
        ({"n_generate": 5}, r"unknown key 'n_generate', did you mean 'n_generated'"),
    ],
)
def test_wrong_settings_are_one_clear_line(
    place: Path, weights: Path, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(place / "plain_gan", folder, ignore=shutil.ignore_patterns("fidelity.json", "samples.png"))
    (tmp_path / "protocol.json").write_text(json.dumps({"fidelity": {**SETTINGS, **settings}}))
    with pytest.raises(UserError, match=message) as caught:
        fidelity.run(folder, place / "data.safetensors", tmp_path / "protocol.json", weights, "cpu")
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "encoder.safetensors",
        "generator.safetensors",
    ]


def test_the_reference_is_what_methods_learn_from(data: datasets.Dataset) -> None:
    unlabelled = torch.zeros(70, 3, 16, 16, dtype=torch.uint8)
    with_more = datasets.Dataset("more", CLASSES, 16, "0", "", data.train, data.test, unlabelled)
    assert fidelity.pick_reference(data, SETTINGS)[0] == "train"
    name, images = fidelity.pick_reference(with_more, SETTINGS)
    assert name == "unlabelled" and images is unlabelled
    name, images = fidelity.pick_reference(with_more, {**SETTINGS, "reference": "test", "n_reference": 90})
    assert name == "test" and len(images) == 90
    assert torch.equal(images, fidelity.pick_reference(data, {**SETTINGS, "reference": "test", "n_reference": 90})[1])
