"""Files are whole or absent: atomic writes, damaged files named, and a real disk that is really full."""

from __future__ import annotations

import shutil
import textwrap

import pytest
import torch

from structgan import files
from structgan.errors import UserError


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_failed_block_keeps_the_old_file_and_leaves_nothing(tmp_path):
    target = tmp_path / "a.json"
    files.write_json(target, {"old": 1})
    with pytest.raises(RuntimeError), files.replacing(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert files.read_json(target) == {"old": 1} and names(tmp_path) == ["a.json"]


def test_a_reader_of_the_old_file_keeps_reading_it(tmp_path):
    """The new file takes the name of the old one at once; it is never written over."""
    files.write_text(tmp_path / "a", "old" * 100_000)
    with open(tmp_path / "a") as reader:
        assert reader.read(3) == "old"
        files.write_text(tmp_path / "a", "new")
        assert reader.read() == "old" * 99_999 and (tmp_path / "a").read_text() == "new"


def test_folders_are_made_and_the_usual_permissions_given(tmp_path):
    files.write_json(tmp_path / "new" / "deep" / "a.json", [1])
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "new/deep/a.json").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_json_without_numbers_that_are_none(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "a.json", {"x": float("nan")})
    assert names(tmp_path) == []


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
    written = []
    for turn in range(4):
        order = dict(sorted(metadata.items(), reverse=bool(turn % 2)))
        files.save_tensors(tmp_path / "a", {"x": torch.ones(3), "b": torch.zeros(2, dtype=torch.long)}, order)
        assert files.load_tensors(tmp_path / "a")[1] == metadata
        written.append((tmp_path / "a").read_bytes())
    assert len(set(written)) == 1


@pytest.mark.parametrize("damage", [lambda raw: raw[:-5], lambda raw: raw[:6], lambda raw: b"", lambda raw: b"x" * 90])
def test_damaged_tensors_are_named(tmp_path, damage):
    path = tmp_path / "a.safetensors"
    files.save_tensors(path, {"x": torch.ones(9)}, {})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=r"a\.safetensors: truncated or damaged"):
        files.load_tensors(path)


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe"])
def test_damaged_json_is_named(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.json: not valid JSON"):
        files.read_json(path)


def test_missing_files_are_named(tmp_path):
    for read in (files.read_json, files.load_tensors):
        with pytest.raises(UserError, match="absent: no such file"):
            read(tmp_path / "absent")


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"a\.json: cannot be written: "):
        files.write_json(tmp_path / "file" / "a.json", 1)


WRITES = """
    import sys
    from pathlib import Path
    import torch
    from structgan import files
    from structgan.errors import UserError

    for folder in map(Path, sys.argv[1:]):
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


def test_a_full_disk_keeps_the_old_files_whole(tmp_path, command):
    """A real limit on the size of a file; and a real file system of 100 KiB, where a mount namespace is allowed."""
    script, small, limited = tmp_path / "writes.py", tmp_path / "small", tmp_path / "limited"
    script.write_text(textwrap.dedent(WRITES))
    small.mkdir()
    limited.mkdir()
    kept = ["old [1.0, 1.0]", "['tensors', 'text']"]
    limit = ["sh", "-c", 'ulimit -f 64; exec "$@"', "sh"]
    done = command(script, limited, cwd=tmp_path, before=limit)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 4 and lines[2:] == kept
    assert all(
        f"limited/{name}: cannot be written: File too large" in lines[i] for i, name in ((0, "text"), (1, "tensors"))
    )

    mount = ["unshare", "-Urm", "sh", "-c", 'mount -t tmpfs -o size=100k tmpfs "$0" && exec "$@"', str(small)]
    if shutil.which("unshare") and command("-c", "", cwd=tmp_path, before=mount).returncode == 0:
        done = command(script, small, cwd=tmp_path, before=mount)
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert len(lines) == 4 and lines[2:] == kept
        assert all(f"small/{name}: no space left" in lines[i] for i, name in ((0, "text"), (1, "tensors")))
