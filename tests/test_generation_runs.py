"""A whole run measured and probed: its samples, its protocol, the reference, and each setting that is refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from halves import CLASSES, SETTINGS, SMALL, pictures
from PIL import Image
from structgan.identity import protocol

from structgan import datasets, files, method
from structgan.datasets import Parts, store
from structgan.errors import UserError
from structgan.evaluation import backend, extractor, features, fidelity, probe, samples

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
    fidelity.run(folder, place / "data.safetensors", place / "fidelity-protocol.json", weights, "cpu")
    found = files.read_json(folder / "fidelity.json")
    assert set(found["metrics"]) == set(backend.RESULTS.values())
    assert found["identity"] == files.read_json(folder / "config.json")["identity"]
    assert found["evaluation"] == protocol.mark(files.read_json(place / "fidelity-protocol.json"))
    told = found["protocol"]
    assert (told["n_generated"], told["n_reference"], told["reference"]) == (120, 400, "train")
    assert told["extractor_sha256"] == extractor.load(weights).sha256 and told["resizer"] == "none"
    assert told["backend"].startswith("torch-fidelity 0.") and told["dtype"] == "uint8"
    with Image.open(folder / "samples.png") as picture:
        assert picture.width == picture.height >= 8 * 18
    picture_before = (folder / "samples.png").read_bytes()
    fidelity.run(folder, place / "data.safetensors", place / "fidelity-protocol.json", weights, "cpu")
    assert files.read_json(folder / "fidelity.json")["metrics"] == found["metrics"]
    assert (folder / "samples.png").read_bytes() == picture_before


def test_a_run_is_probed(place: Path) -> None:
    folder = place / "random"
    before = (folder / "encoder.safetensors").read_bytes()
    probe.run(folder, place / "data.safetensors", place / "probe-protocol.json", "cpu")
    found = files.read_json(folder / "probe.json")
    loaded = method.load_run(folder, found["dataset"]["content_hash"])
    assert found["evaluation"] == protocol.mark(files.read_json(place / "probe-protocol.json"))
    assert found["encoder"]["sha256"] == features.module_hash(loaded.encoder)
    assert found["encoder"]["dim"] == loaded.encode(torch.zeros(1, 3, 16, 16)).shape[1]
    assert found["metrics"]["linear"]["top1"] > 0.9  # a bright half is easy even for random features
    assert found["dataset"]["classes"] == 4 and len(files.read_json(folder / "map.json")["points"]) == 50
    assert (folder / "encoder.safetensors").read_bytes() == before


def test_a_method_without_samples_and_a_foreign_extractor_are_refused(
    place: Path, weights: Path, tmp_path: Path
) -> None:
    data_file, planned = place / "data.safetensors", place / "fidelity-protocol.json"
    with pytest.raises(UserError, match=r"no sample\(\)"):
        fidelity.run(place / "random", data_file, planned, weights, "cpu")
    store.save(tmp_path / "other.safetensors", Parts(CLASSES, pictures(80, 5), pictures(80, 6)), {"name": "other"})
    with pytest.raises(UserError, match="was trained on another"):
        fidelity.run(place / "plain_gan", tmp_path / "other.safetensors", planned, weights, "cpu")
    with pytest.raises(UserError, match="needs a trained extractor"):
        fidelity.run(place / "plain_gan", data_file, planned, None, "cpu")
    other = files.read_json(planned)
    other["settings"]["extractor"] = {**SMALL, "epochs": 5}
    files.write_json(tmp_path / "other.json", other)
    with pytest.raises(UserError, match="trained with other settings than planned"):
        fidelity.run(place / "plain_gan", data_file, tmp_path / "other.json", weights, "cpu")
    files.write_json(tmp_path / "old.json", {**other, "sources": "old"})
    with pytest.raises(UserError, match="planned for other sources"):
        fidelity.run(place / "plain_gan", data_file, tmp_path / "old.json", weights, "cpu")
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
    planned = protocol.make({"fidelity": {**SETTINGS, **settings}, "extractor": SMALL}, "fidelity")
    files.write_json(tmp_path / "protocol.json", planned)
    with pytest.raises(UserError, match=message) as caught:
        fidelity.run(folder, place / "data.safetensors", tmp_path / "protocol.json", weights, "cpu")
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "encoder.safetensors",
        "generator.safetensors",
        "history.json",
    ]


@pytest.mark.parametrize("key", fidelity.KEYS)
def test_a_setting_that_the_configuration_does_not_give_is_no_setting(key: str) -> None:
    assert fidelity.check(SETTINGS) == SETTINGS
    with pytest.raises(UserError, match=rf"fidelity\.{key} is missing"):
        fidelity.check({name: value for name, value in SETTINGS.items() if name != key})


def test_the_reference_is_what_methods_learn_from(data: datasets.Dataset) -> None:
    unlabelled = torch.zeros(70, 3, 16, 16, dtype=torch.uint8)
    with_more = datasets.Dataset("more", CLASSES, 16, "0", "", data.train, data.test, unlabelled)
    assert fidelity.pick_reference(data, SETTINGS)[0] == "train"
    name, images = fidelity.pick_reference(with_more, SETTINGS)
    assert name == "unlabelled" and images is unlabelled
    name, images = fidelity.pick_reference(with_more, {**SETTINGS, "reference": "test", "n_reference": 90})
    assert name == "test" and len(images) == 90
    assert torch.equal(images, fidelity.pick_reference(data, {**SETTINGS, "reference": "test", "n_reference": 90})[1])
