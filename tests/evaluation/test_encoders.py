"""Encoders outside the suite: loaded in Python, as ONNX under onnxruntime, and as a folder that loads again."""

import json

import pytest
import torch

import structgan
from structgan import datasets
from structgan.errors import UserError


@pytest.fixture(scope="module")
def encoder(halves):
    return structgan.load_encoder(halves.run("structural"))


@pytest.fixture(scope="module")
def images(halves):
    return datasets.load(halves.data).test.images[:7]


def test_features_are_those_that_the_suite_probes(encoder, images):
    found = encoder.encode(images)
    assert found.shape == (7, encoder.network.encoder.features) and not found.requires_grad
    assert torch.equal(found, encoder.network.encode(images.float() / 127.5 - 1))
    assert torch.equal(found, encoder.encode(images.float() / 127.5 - 1)) and not encoder.training


@pytest.mark.parametrize("wrong", [torch.zeros(3, 16, 16), torch.zeros(1, 3, 8, 8), torch.full((1, 3, 16, 16), 2.0)])
def test_images_of_another_shape_or_range_are_refused(encoder, wrong):
    with pytest.raises(ValueError, match="images must be"):
        encoder.encode(wrong)


@pytest.mark.slow
def test_onnx_gives_the_same_features_for_any_number_of_images(encoder, images, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(structgan.export(encoder, tmp_path / "encoder.onnx"))
    for some in (images[:1], images):
        (found,) = session.run(["features"], {"images": (some.float() / 127.5 - 1).numpy()})
        assert torch.allclose(torch.from_numpy(found), encoder.encode(some), atol=1e-4)
    with pytest.raises(UserError, match=r"encoder\.onnx: exists already"):
        structgan.export(encoder, tmp_path / "encoder.onnx")


def test_an_exported_folder_loads_again_and_its_card_has_the_numbers(encoder, images, halves, tmp_path):
    folder = structgan.export(halves.run("structural"), tmp_path / "published")
    assert {path.name for path in folder.iterdir()} == {"model.safetensors", "config.json", "README.md"}
    assert torch.equal(structgan.load_encoder(folder).encode(images), encoder.encode(images))
    card = (folder / "README.md").read_text()
    assert card.startswith("---\n") and encoder.config["identity"] in card
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"seed": 99}))
    with pytest.raises(UserError, match=r"config\.json: edited or damaged"):
        structgan.load_encoder(folder)


def test_a_run_is_found_by_its_id(halves, monkeypatch):
    monkeypatch.chdir(halves.root)
    run = halves.run("structural")
    assert structgan.load_encoder(run.name).run.resolve() == run
    with pytest.raises(UserError, match="0123abcd: no such run"):
        structgan.load_encoder("0123abcd")
