"""A person's pictures belong to the identity of their data set: what changes it, what does not, and without them."""

import os
import shutil
from pathlib import Path

import pytest
from raw_data import pack, picture, tree_members, unpack
from refusal import refused

from structgan import config, datasets, pictures, plan, provenance
from structgan.datasets import imagenet10
from structgan.grid import Grid

MEMBERS = {**tree_members(count=4), "README.md": b"x", "val/cat/0.png": b"x", "train/cat/.hidden": b"x"}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A working folder with pictures in photos/ and photos.tar; no file of a test is too young to be remembered."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pictures, "SETTLED_S", -60.0)
    pack(Path("photos.tar"), MEMBERS)
    return unpack(Path("photos"), MEMBERS)


@pytest.fixture
def planned(demo):
    """Plan untrained encoders on the pictures; returns the settings of the data set."""

    def run(path="photos", fresh=True, **settings):
        block = {"builder": "folder", "path": path, "image_size": 8, **settings}
        cells = [{"datasets": ["mine"], "methods": ["random"], "augmentations": ["none"], "seeds": [0]}]
        change = {"datasets": {"mine": block}, "training": {"batch_size": 4}, "evaluation": {"knn": {"k": 3}}}
        made = plan.Plan({**config.merge(demo, change), "grid": cells}, fresh=fresh)
        made.write()
        assert made.runs[0].data == made.datasets["mine"]["identity"]
        return made.datasets["mine"]

    return run


def same_size_and_time(file):
    before, content = file.stat(), bytearray(file.read_bytes())
    content[-20] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size and file.stat().st_mtime_ns == before.st_mtime_ns


CHANGES = {
    "a picture replaced by one of its size and time": (
        lambda at: same_size_and_time(at / "train/cat/0.png"), "train/cat: other content"),
    "a picture added": (lambda at: (at / "test/dog/9.png").write_bytes(picture(9)), "test/dog: 4 → 5 files"),
    "a picture removed": (lambda at: (at / "test/dog/1.png").unlink(), "test/dog: 4 → 3 files"),
    "a picture renamed": (lambda at: (at / "test/cat/0.png").rename(at / "test/cat/9.png"), "test/cat: other content"),
    "a class renamed": (
        lambda at: [(at / split / "dog").rename(at / split / "emu") for split in ("train", "test")],
        "test/dog: gone, test/emu: new, train/dog: gone, train/emu: new"),
    "a class added": (
        lambda at: [shutil.copytree(at / split / "dog", at / split / "emu") for split in ("train", "test")],
        "test/emu: new, train/emu: new"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_changed_pictures_are_planned_anew_and_told(here, planned, capsys, name):
    change, told = CHANGES[name]
    before = planned()
    shutil.copytree(here, "old")
    change(here)
    assert planned()["identity"] != before["identity"]
    words = f"structgan: data set mine: photos changed since it was planned last: {told}\n"
    assert words in capsys.readouterr().err
    shutil.rmtree(here)
    shutil.copytree("old", here, copy_function=shutil.copy)  # with other times
    assert planned() == before


def test_another_archive_at_the_same_path_is_planned_anew(planned, capsys):
    before = planned("photos.tar")
    assert planned("photos.tar") == before and not capsys.readouterr().err
    pack(Path("photos.tar"), {**MEMBERS, "train/cat/9.png": picture(9)})
    assert (
        planned("photos.tar")["identity"] != before["identity"]
        and "photos.tar: other content" in capsys.readouterr().err
    )


def test_what_is_not_read_and_times_change_nothing(here, planned, capsys):
    before = planned()
    for name in ("README.md", "val/cat/0.png", "train/cat/.hidden", "train/dog/Thumbs.db"):
        (here / name).write_bytes(b"y")
    for file in here.rglob("*.png"):
        os.utime(file, ns=(1, 1))
    assert planned() == before and not capsys.readouterr().err


def test_bytes_are_read_again_only_where_names_sizes_or_times_changed(here, planned):
    planned()
    cache = provenance.read_json_object(pictures.CACHE)
    assert len(cache) == 4
    pictures.CACHE.write_text(pictures.CACHE.read_text().replace(next(iter(cache.values())), "0" * 64))
    _, seen = pictures.digests(here, False, (), provenance.read_json_object(pictures.CACHE))
    assert "0" * 64 in seen.values()
    (here / "train/cat/0.png").touch()
    assert "0" * 64 not in pictures.digests(here, False, (), provenance.read_json_object(pictures.CACHE))[1].values()


def test_without_the_pictures_the_plan_is_what_it_was(here, planned, tmp_path):
    """As in a clone that holds prepared files and no pictures; also where the pictures' disk is not mounted."""
    before = planned()
    pictures.CACHE.unlink()
    shutil.rmtree(here)
    assert planned() == before
    here.mkdir()
    assert planned() == before
    pictures.RECORD.unlink()
    gone = planned()
    assert gone["content"] == pictures.GONE and gone["identity"] != before["identity"]
    assert planned(content=before["content"]) == before
    with refused("photos", "no folder train/<class>/"):
        datasets.prepare(gone, tmp_path / "out.safetensors", tmp_path)


def test_pictures_that_changed_after_planning_are_refused(here, planned, tmp_path):
    for path in ("photos", "photos.tar"):
        assert datasets.prepare(planned(path), tmp_path / "out.safetensors", tmp_path)["images"]["train"] == 8
    asked = planned()
    (here / "train/cat/0.png").write_bytes(picture(9))
    with refused("photos: changed after planning; plan again"):
        datasets.prepare(asked, tmp_path / "out.safetensors", tmp_path)
    assert planned(fresh=False) == asked != planned()  # a job of the plan, whose pictures are newer


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda at: shutil.rmtree(at / "test/dog"), "class 'dog' is missing from test/"),
        (lambda at: shutil.rmtree(at / "train"), "no folder train/<class>/"),
        (lambda at: (at / "train/emu").symlink_to("gone"), "train/emu: a broken link"),
        (lambda at: [shutil.rmtree(at / split / "dog") for split in ("train", "test")], "'cat' is the only class"),
        (lambda at: [shutil.rmtree(at), os.mkfifo(at)], "photos: a device, a pipe or a socket"),
    ],
)
def test_a_folder_that_cannot_be_prepared_is_refused_at_planning(here, planned, change, words):
    change(here)
    with refused("datasets.mine", words):
        planned()


def test_of_imagenet_only_the_ten_classes_count(base, tmp_path):
    def content():
        return Grid(base).dataset("imagenet10")["content"]

    root = tmp_path / "data/raw/imagenet"
    assert content() == pictures.GONE
    unpack(root, {f"{split}/{wnid}/0.JPEG": b"x" for split in ("train", "val") for wnid in (*imagenet10.CLASSES, "n0")})
    first = content()
    (root / "train/n0/0.JPEG").write_bytes(b"y")
    assert content() == first
    (root / "val/n07747607/0.JPEG").write_bytes(b"y")
    assert content() != first
