"""Files are whole or absent: atomic writes, damaged files named, and a real disk that is really full."""

import os
import shutil
import textwrap

import pytest
import torch
from refusal import refused

from structgan import files


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_failed_block_keeps_the_old_file_and_leaves_nothing(tmp_path):
    target = tmp_path / "a.json"
    files.write_json(target, {"old": 1})
    with pytest.raises(RuntimeError), files.replacing(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(target, {"x": float("nan")})
    assert files.read_json(target) == {"old": 1} and names(tmp_path) == ["a.json"]


def test_folders_are_made_and_the_usual_permissions_given(tmp_path):
    files.write_json(tmp_path / "new/deep/a.json", [1])
    files.save_tensors(tmp_path / "new/b.safetensors", {"x": torch.ones(1)}, {})
    (tmp_path / "plain").write_text("")
    for made in ("new/deep/a.json", "new/b.safetensors"):
        assert (tmp_path / made).stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_tensors_come_back_whatever_their_layout(tmp_path):
    path = tmp_path / "a.safetensors"
    image = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    tensors = {"image": image, "turned": torch.arange(6).view(2, 3).T, "none": torch.empty(0, dtype=torch.long)}
    files.save_tensors(path, tensors, {"identity": "x"})
    loaded, metadata = files.load_tensors(path)
    assert metadata == {"identity": "x"} and set(loaded) == set(tensors)
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)


def test_equal_content_gives_equal_bytes(tmp_path):
    """So that a run published again keeps its hash; the library alone writes the metadata in a changing order."""
    metadata = {f"key {i}": 'a "quoted" é \n value' for i in range(12)}
    written = set()
    for turn in range(4):
        order = dict(sorted(metadata.items(), reverse=bool(turn % 2)))
        files.save_tensors(tmp_path / "a", {"x": torch.ones(3), "b": torch.zeros(2, dtype=torch.long)}, order)
        assert files.load_tensors(tmp_path / "a")[1] == metadata
        written.add((tmp_path / "a").read_bytes())
    assert len(written) == 1


@pytest.mark.parametrize("damage", [lambda raw: raw[:-5], lambda raw: raw[:6], lambda raw: b"", lambda raw: b"x" * 90])
def test_what_is_damaged_is_named(tmp_path, damage):
    for name in ("a.safetensors", "a.json"):
        files.save_tensors(tmp_path / name, {"x": torch.ones(9)}, {})
        (tmp_path / name).write_bytes(damage((tmp_path / name).read_bytes()))
    with refused("a.safetensors: truncated or damaged"):
        files.load_tensors(tmp_path / "a.safetensors")
    with refused("a.json: not valid JSON"):
        files.read_json(tmp_path / "a.json")


def test_a_pipe_is_no_json_file(tmp_path):
    os.mkfifo(tmp_path / "a.json")
    with refused("a.json: cannot be read: not a file"):
        files.read_json(tmp_path / "a.json")


def test_what_is_missing_or_cannot_be_written_is_named(tmp_path):
    for read in (files.read_json, files.load_tensors):
        with refused("absent: no such file"):
            read(tmp_path / "absent")
    (tmp_path / "file").write_text("")
    with refused("a.json: cannot be written: "):
        files.write_json(tmp_path / "file/a.json", 1)


WRITES = """
    import sys
    from pathlib import Path
    import torch
    from structgan import files
    from structgan.errors import UserError

    folder = Path(sys.argv[1])
    files.write_text(folder / "text", "old")
    files.save_tensors(folder / "tensors", {"x": torch.ones(2)}, {})
    for attempt in (
        lambda: files.write_text(folder / "text", "x" * 200_000),
        lambda: files.save_tensors(folder / "tensors", {"x": torch.ones(50_000)}, {}),
    ):
        try:
            attempt()
        except UserError as error:
            print(error)
    print((folder / "text").read_text(), files.load_tensors(folder / "tensors")[0]["x"].tolist())
    print(sorted(path.name for path in folder.iterdir()))
"""
LIMIT = ["sh", "-c", 'ulimit -f 64; exec "$@"', "sh"]
MOUNT = ["unshare", "-Urm", "sh", "-c", 'mount -t tmpfs -o size=100k tmpfs "$0" && exec "$@"']


@pytest.mark.parametrize("kind", ["limit", "mount"])
def test_a_full_disk_keeps_the_old_files_whole(tmp_path, command, kind):
    """A real limit on the size of a file; and a real file system of 100 KiB, where a mount namespace is allowed."""
    script, folder = tmp_path / "writes.py", tmp_path / "folder"
    script.write_text(textwrap.dedent(WRITES))
    folder.mkdir()
    before, words = (LIMIT, "cannot be written: File too large") if kind == "limit" else ([*MOUNT, folder], "no space")
    if not shutil.which(before[0]) or command("-c", "", cwd=tmp_path, before=before).returncode:
        pytest.skip("no mount namespaces here")
    done = command(script, folder, cwd=tmp_path, before=before)
    assert done.returncode == 0, done.stderr
    text, tensors, *kept = done.stdout.splitlines()
    assert f"folder/text: {words}" in text and f"folder/tensors: {words}" in tensors
    assert kept == ["old [1.0, 1.0]", "['tensors', 'text']"]
