"""Class folders in a folder, a tar or a zip, and everything that can be wrong with them."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from raw_data import pack, picture, tree_members, unpack
from refusal import refused

JUNK = {
    "README.md": b"x", "train/README.md": b"x", "train/cat/.hidden": b"x", "train/.DS_Store": b"x",
    "__MACOSX/train/cat/0.png": b"x", "train/cat/.ipynb_checkpoints/0.png": b"x", "train/.git/config": b"x",
    "test/dog/@eaDir/0.png": b"x", "train/dog/thumbs.db": b"x", "train/dog/Desktop.ini": b"x",
}  # fmt: skip


@pytest.fixture
def read(prepare):
    def run(path, **settings):
        return prepare(builder="folder", path=str(path), **{"image_size": 8, **settings})

    return run


def encoded(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return stream.getvalue()


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).transpose(2, 0, 1)


def test_a_tree_a_tar_and_a_zip_are_read_alike(read, tmp_path):
    members = tree_members()
    everything = {**members, **JUNK}
    places = [unpack(tmp_path / "tree", everything)]
    backwards = dict(reversed(list(everything.items())))
    places += [pack(tmp_path / name, backwards) for name in ("a.tar", "a.tar.gz", "a.tar.xz")]
    places.append(pack(tmp_path / "nested.tar", {"set/": b"", **{f"./set/{k}": v for k, v in everything.items()}}))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, content in everything.items():
            archive.writestr(name, content)
    (tmp_path / "links/train").mkdir(parents=True)
    (tmp_path / "links/test").symlink_to(tmp_path / "tree/test")
    for name in ("cat", "dog"):
        (tmp_path / "links/train" / name).symlink_to(tmp_path / "tree/train" / name)
    built = [read(place, note="mine") for place in (*places, tmp_path / "a.zip", tmp_path / "links")]
    assert len({each.content_hash for each in built}) == 1
    first = built[0]
    assert first.classes == ("cat", "dog") and first.note == "mine" and first.train.labels.tolist() == [0, 0, 1, 1]
    assert np.array_equal(first.train.images[2].numpy(), pixels(members["train/dog/0.png"]))
    assert not (tmp_path / "raw").exists()


def test_val_is_used_only_without_test(read, tmp_path):
    val = {name.replace("test/", "val/"): content for name, content in tree_members().items()}
    alone = read(pack(tmp_path / "a.tar", val))
    both = {**tree_members(), **{name: picture(99) for name in val if name.startswith("val")}}
    for place in (pack(tmp_path / "b.tar", both), unpack(tmp_path / "b", both)):
        assert read(place).content_hash == alone.content_hash


@pytest.mark.parametrize("mode", ["L", "1", "LA", "P", "RGBA"])
def test_other_modes_are_converted_to_rgb(read, tmp_path, mode):
    content = picture(5, mode=mode, kind="GIF" if mode == "P" else "PNG")
    built = read(pack(tmp_path / "a.tar", {**tree_members(), "train/cat/0.png": content}))
    assert np.array_equal(built.train.images[0].numpy(), pixels(content))


def test_the_central_square_is_resized_if_asked(read, tmp_path):
    wide = np.zeros((16, 32, 3), np.uint8)
    wide[:, 8:24, 0] = 200  # the central square is red, the rest is black
    place = pack(tmp_path / "a.tar", {**tree_members(), "train/cat/0.png": encoded(wide)})
    with refused("train/cat/0.png", "resize"):
        read(place)
    built = read(place, resize=True)
    assert (built.train.images[0, 0] == 200).all() and (built.train.images[0, 1:] == 0).all()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"train/cat/0.png": b""}, "train/cat/0.png"),
        ({"train/cat/0.png": b"no picture"}, "train/cat/0.png"),
        ({"train/cat/0.png": picture(0)[:100]}, "train/cat/0.png"),
        ({"test/dog/1.png": picture(0, (64, 64), kind="JPEG")[:900]}, "test/dog/1.png"),
        ({"train/cat/0.png": encoded(np.full((8, 8), 40000, np.uint16))}, "train/cat/0.png"),
        ({"train/cat/0.png": picture(5, mode="CMYK", kind="TIFF")}, "CMYK"),
        ({"train/emu/0.png": picture(1)}, "'emu' is missing from test/"),
        ({"test/emu/0.png": picture(1)}, "'emu' is missing from train/"),
        ({"train/cat/deep/0.png": picture(1)}, "train/cat/deep"),
        ({"train/caf\udce9/0.png": picture(1), "test/caf\udce9/0.png": picture(1)}, "caf\\udce9"),
    ],
)
def test_what_is_wrong_is_named(read, tmp_path, change, named):
    members = {**tree_members(), **change}
    for place in (pack(tmp_path / "a.tar", members), unpack(tmp_path / "a", members)):
        with refused(str(place), named):
            read(place)
    assert not (tmp_path / "prepared/set.safetensors").exists()


def test_missing_and_broken_paths_are_named(read, tmp_path, monkeypatch):
    with refused("nowhere"):
        read(tmp_path / "nowhere")
    place = unpack(tmp_path / "a", {k: v for k, v in tree_members().items() if k.startswith("train")})
    with refused(str(place), "test/"):
        read(place)
    unpack(place, tree_members())
    (place / "train/cat/9.png").symlink_to(tmp_path / "gone")
    with refused("train/cat/9.png"):
        read(place)
    (place / "train/cat/9.png").unlink()
    for split in ("train", "test"):
        (place / split / "emu").symlink_to(tmp_path / "gone")
    with refused("/emu: a broken link"):
        read(place)
    for split in ("train", "test"):
        (place / split / "emu").unlink()
        (place / split / "emu").mkdir()
    with refused("'emu' is missing from train/"):
        read(place)
    for split in ("train", "test"):
        (place / split / "emu").rmdir()
    listed = os.scandir

    def scandir(path):
        if Path(path).name == "dog":
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)  # root, who may run the tests, could read any folder
    with refused("/dog"):
        read(place)


@pytest.mark.parametrize("name", ["a.tar.xz", "a.tar.gz", "a.tar"])
def test_a_truncated_or_corrupted_archive_is_named(read, tmp_path, name):
    place = pack(tmp_path / name, tree_members(count=6))
    whole = place.read_bytes()
    for content in (whole[: len(whole) // 2], b"\x00\x01" * 900):
        place.write_bytes(content)
        with refused(str(place)):
            read(place)
