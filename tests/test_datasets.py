"""What holds for every data set builder: wrong settings, what a prepared file says of itself, a full disk."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from raw_data import TINY
from refusal import refused

from structgan import datasets, files


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, ["'builder' is missing", "cifar10"]),
        ({"builder": "cifar"}, ["unknown builder 'cifar'", "did you mean 'cifar10'"]),
        ({**TINY, "train_sise": 3}, ["unknown key 'train_sise'", "did you mean 'train_size'"]),
        ({**TINY, "image_size": 64}, ["image_size is 64", "16, 32"]),
        ({**TINY, "train_size": 0}, ["train_size is 0"]),
        ({**TINY, "seed": True}, ["seed is True"]),
        ({**TINY, "train_scans": [499, 1797]}, ["overlap", "499", "500"]),
        ({**TINY, "test_scans": [1700, 1798]}, ["test_scans is [1700, 1798]", "1797"]),
        ({**TINY, "train_size": 5}, ["has no image in the train split"]),
        ({"builder": "folder", "image_size": 8}, ["path is None", "non-empty string"]),
        ({"builder": "folder", "path": "x"}, ["image_size is None"]),
        ({"builder": "folder", "path": "x", "image_size": 8, "resize": "yes"}, ["resize is 'yes'", "true or false"]),
    ],
)
def test_wrong_settings_are_one_line_that_names_the_set(prepare, settings, words):
    with refused("data set 'set'", *words):
        prepare(**settings)


def test_the_summary_and_metadata_say_what_was_built(tmp_path):
    out = tmp_path / "mine.safetensors"
    summary = datasets.prepare({**TINY, "title": "Digits"}, out, tmp_path)
    assert summary["name"] == "mine" and summary["images"] == {"train": 60, "test": 40} and summary["classes"] == 10
    tensors, metadata = files.load_tensors(out)
    assert set(tensors) == {"train/images", "train/labels", "test/images", "test/labels"}
    assert metadata["format"] == "structgan-dataset-1" and metadata["content_hash"] == summary["content_hash"]
    settings = json.loads(metadata["settings"])
    assert settings["train_scans"] == [500, 1797] and settings["train_size"] == 60 and settings["seed"] == 0
    named = datasets.prepare({**TINY, "name": "other", "note": "n"}, out, tmp_path)
    assert named["content_hash"] == summary["content_hash"] and datasets.load(out).note == "n"


FULL = """
    import resource, signal, sys
    from pathlib import Path
    from structgan import datasets
    from structgan.errors import UserError

    settings = {"builder": "digits", "train_size": 400, "test_size": 100}
    def attempt(folder):
        try:
            datasets.prepare(settings, folder / "set.safetensors", folder)
        except UserError as error:
            print(error)
        print(sorted(path.name for path in folder.iterdir()))

    small, limited = map(Path, sys.argv[1:])
    if small.is_mount():
        (small / "old").write_text("kept")
        attempt(small)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
    attempt(limited)
"""


def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(tmp_path):
    """A real file size limit, and, where a mount namespace is allowed, a real file system of 64 KiB."""
    script, small, limited = tmp_path / "full.py", tmp_path / "small", tmp_path / "limited"
    script.write_text(textwrap.dedent(FULL))
    small.mkdir()
    limited.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    python = [sys.executable, str(script), str(small), str(limited)]
    mount = ["unshare", "-Urm", "sh", "-c", 'mount -t tmpfs -o size=64k tmpfs "$0" && exec "$@"', str(small)]
    allowed = shutil.which("unshare") and subprocess.run([*mount, "true"], capture_output=True).returncode == 0
    command = [*mount, *python] if allowed else python
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    if allowed:
        assert "small/set.safetensors: no space left on the disk" in lines[0] and lines[1] == "['old']"
    assert "limited/set.safetensors: cannot be written" in lines[-2] and lines[-1] == "[]"
    assert len(lines) == (4 if allowed else 2)
