"""The feature extractors: a small classifier trained on the data set, and Inception from its published file."""

from pathlib import Path

import pytest
import torch
from evaluated_tree import SETTINGS, Tree
from refusal import refused

from structgan import files
from structgan.evaluation import extractor, features, torch_fidelity
from structgan.models.classifier import Classifier


def test_the_extractor_learns_says_what_it_is_and_repeats_itself(halves: Tree, tmp_path: Path) -> None:
    trained, data = extractor.load(halves.extractor), halves.dataset
    assert trained.test_accuracy >= 0.95
    predicted = extractor.classify(trained.network, data.test.images)
    assert features.accuracy(predicted, data.test.labels) == trained.test_accuracy
    assert (trained.content_hash, trained.settings) == (data.content_hash, SETTINGS["extractor"])
    assert not trained.network.training and not any(p.requires_grad for p in trained.network.parameters())
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    again = halves.train_extractor(tmp_path / "again.safetensors")
    assert torch.equal(torch.rand(1), expected)  # the global seed is not touched
    assert again["sha256"] == trained.sha256
    with refused("the protocol of 'probe'"):
        extractor.train(halves.data, halves.protocol("probe"), tmp_path / "none.safetensors")


def test_a_damaged_extractor_is_refused(halves: Tree, tmp_path: Path) -> None:
    tensors, metadata = files.load_tensors(halves.extractor)
    tensors["head.bias"] = tensors["head.bias"] + 1e-3
    files.save_tensors(tmp_path / "changed.safetensors", tensors, metadata)
    for path in (tmp_path / "changed.safetensors", halves.data):
        with refused(str(path)):
            extractor.load(path)


def test_shifts_are_whole_pixels_of_each_image() -> None:
    images = torch.arange(6 * 64, dtype=torch.int64).view(6, 1, 8, 8).expand(6, 3, 8, 8)
    moved = extractor.shifted(images, 2, torch.Generator().manual_seed(0))
    found = set()
    for image, result in zip(images, moved, strict=True):
        padded = torch.nn.functional.pad(image[None].double(), (2, 2, 2, 2), mode="replicate")[0].long()
        windows = padded.unfold(1, 8, 1).unfold(2, 8, 1)  # (3, 5, 5, 8, 8): the image at every shift
        (place,) = (windows == result[:, None, None]).all((0, 3, 4)).nonzero().tolist()
        found.add(tuple(place))
    assert len(found) > 1
    assert torch.equal(extractor.shifted(images, 0, torch.Generator()), images)


@pytest.mark.parametrize("size", [8, 12, 16, 32, 96])
def test_the_classifier_takes_every_image_size(size: int) -> None:
    network = Classifier(size, classes=7, width=4)
    found, logits = network(torch.zeros(2, 3, size, size))
    assert found.shape == (2, network.features) == (2, 16) and logits.shape == (2, 7)
    with pytest.raises(ValueError, match="image_size 4"):
        Classifier(4, classes=7)


def test_inception_runs_on_given_weights(halves: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    name = "torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url"
    with monkeypatch.context() as patch, torch.random.fork_rng():
        torch.manual_seed(0)
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        patch.setattr(name, lambda *_, **__: {})
        network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
    torch.save(network.state_dict(), tmp_path / "inception.pth")
    chosen = {"extractor": "inception", "weights": str(tmp_path / "inception.pth"), "metrics": ["prc"]}
    images = halves.dataset.train.images[:4]
    weights = torch_fidelity.inception_weights(chosen["weights"])
    found = torch_fidelity.measure(images, images, {**SETTINGS["fidelity"], **chosen}, weights)
    assert found["precision"] == found["recall"] == 1.0


def test_inception_without_weights_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with refused("fidelity.weights", "no such file"):
        torch_fidelity.inception_weights(tmp_path / "none.pth")
    (tmp_path / "broken.pth").write_bytes(b"not weights")
    with refused("broken.pth", "damaged"):
        torch_fidelity.inception_weights(tmp_path / "broken.pth")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    monkeypatch.setattr(torch_fidelity, "URL", "http://127.0.0.1:9/weights-inception.pth")  # nobody answers here
    with refused("http://127.0.0.1:9/", "fidelity.weights", str(tmp_path / "hub")):
        torch_fidelity.inception_weights()


def test_a_download_is_kept_and_a_wrong_one_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"a": torch.zeros(2)}, tmp_path / "published.pth")
    digest = files.sha256(tmp_path / "published.pth")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    monkeypatch.setattr(torch_fidelity, "URL", (tmp_path / "published.pth").as_uri())
    with refused(torch_fidelity.SHA256_START, "fidelity.weights"):
        torch_fidelity.inception_weights()
    assert not [path for path in (tmp_path / "hub").rglob("*") if path.is_file()]
    monkeypatch.setattr(torch_fidelity, "SHA256_START", digest[:8])
    found = torch_fidelity.inception_weights()
    assert files.sha256(found) == digest and found.is_relative_to(tmp_path / "hub")
