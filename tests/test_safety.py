"""Files that would run code: pickles and YAML."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from refusal import refused

from structgan import config, files
from structgan.evaluation import torch_fidelity


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, fuse: Path) -> None:
        self.fuse = fuse

    def __reduce__(self):
        return Path.touch, (self.fuse,)


@pytest.fixture
def bomb(tmp_path):
    """A pickle that is known to go off, and the file that it would write."""
    fuse = tmp_path / "fuse"
    content = pickle.dumps({"data": Bomb(fuse), b"labels": [0]})
    pickle.loads(content)
    assert fuse.exists()
    fuse.unlink()
    return content, fuse


@pytest.mark.parametrize("form", ["zip", "legacy", "bare"])
def test_weights_that_are_a_pickle_do_nothing(bomb, tmp_path, form):
    """Neither in our own check, nor in torch-fidelity, which asks torch for the whole pickle."""
    content, fuse = bomb
    path = tmp_path / "weights.pth"
    if form == "bare":
        path.write_bytes(content)
    else:
        torch.save({"a": Bomb(fuse)}, path, _use_new_zipfile_serialization=form == "zip")
    with refused("damaged, or no file of weights"):
        torch_fidelity.inception_weights(path)
    images = torch.zeros(4, 3, 16, 16, dtype=torch.uint8)
    with pytest.raises(pickle.UnpicklingError):
        torch_fidelity.measure(images, images, config.load([])["evaluation"]["fidelity"], path)
    assert not fuse.exists()


def test_state_and_data_that_are_a_pickle_do_nothing(bomb, tmp_path):
    content, fuse = bomb
    (tmp_path / "state.safetensors").write_bytes(content)
    with refused("truncated or damaged"):
        files.load_tensors(tmp_path / "state.safetensors")
    (tmp_path / "probe.json").write_bytes(content)
    with refused("probe.json"):
        files.read_json(tmp_path / "probe.json")
    assert not fuse.exists()


def test_yaml_builds_no_objects(tmp_path):
    fuse = tmp_path / "fuse"
    (tmp_path / "mine.yaml").write_text(f"suite: !!python/object/apply:os.mknod ['{fuse}']\n")
    with refused("mine.yaml", "not valid YAML"):
        config.load([tmp_path / "mine.yaml"])
    assert not fuse.exists()
