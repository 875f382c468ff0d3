"""A user's own pictures as folders or in an archive, and each thing that can be wrong with them."""

from __future__ import annotations

import io
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image
from raw_data import pack, picture, tree_members, unpack
from refusal import refused


def test_folder_reads_the_same_from_a_tree_a_tar_and_a_zip(prepare, tmp_path):
    members = tree_members()
    extra = {"README.md": b"x", "train/cat/.hidden": b"x", "train/.DS_Store": b"x", "__MACOSX/train/cat/0.png": b"x"}
    sources = [unpack(tmp_path / "tree", {**members, **extra})]
    backwards = dict(reversed(list({**members, **extra}.items())))
    sources += [pack(tmp_path / name, backwards) for name in ("a.tar", "a.tar.gz", "a.tar.xz")]
    sources.append(pack(tmp_path / "nested.tar", {"set/": b"", **{f"./set/{k}": v for k, v in members.items()}}))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    sources.append(tmp_path / "a.zip")
    built = [prepare(builder="folder", path=str(source), image_size=8, note="mine") for source in sources]
    assert len({each.content_hash for each in built}) == 1
    first = built[0]
    assert first.classes == ("cat", "dog") and first.note == "mine" and first.train.labels.tolist() == [0, 0, 1, 1]
    expected = np.asarray(Image.open(io.BytesIO(members["train/dog/0.png"]))).transpose(2, 0, 1)
    assert np.array_equal(first.train.images[2].numpy(), expected)
    assert not (tmp_path / "raw").exists()


def test_folder_takes_val_only_where_there_is_no_test(prepare, tmp_path):
    val = {name.replace("test/", "val/"): content for name, content in tree_members().items()}
    alone = prepare(builder="folder", path=str(pack(tmp_path / "a.tar", val)), image_size=8)
    both = {**tree_members(), **{k: picture(99) for k in val if k.startswith("val")}}
    for source in (pack(tmp_path / "b.tar", both), unpack(tmp_path / "b", both)):
        assert prepare(builder="folder", path=str(source), image_size=8).content_hash == alone.content_hash


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("L", "PNG"), ("1", "PNG"), ("LA", "PNG"), ("P", "PNG"), ("RGBA", "PNG"), ("P", "GIF")],
)
def test_folder_converts_other_modes_to_rgb(prepare, tmp_path, mode, kind):
    members = tree_members()
    members["train/cat/0.png"] = content = picture(5, mode=mode, kind=kind)
    built = prepare(builder="folder", path=str(pack(tmp_path / "a.tar", members)), image_size=8)
    expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).transpose(2, 0, 1)
    assert np.array_equal(built.train.images[0].numpy(), expected)


def test_folder_resizes_the_central_square_when_asked(prepare, tmp_path):
    wide = np.zeros((16, 32, 3), np.uint8)
    wide[:, 8:24, 0] = 200  # the central square is red, the rest black
    stream = io.BytesIO()
    Image.fromarray(wide).save(stream, "PNG")
    members = {**tree_members(), "train/cat/0.png": stream.getvalue()}
    source = str(pack(tmp_path / "a.tar", members))
    with refused("train/cat/0.png", "32×16", "8×8", "resize: true"):
        prepare(builder="folder", path=source, image_size=8)
    built = prepare(builder="folder", path=source, image_size=8, resize=True)
    assert (built.train.images[0, 0] == 200).all() and (built.train.images[0, 1:] == 0).all()


def grey16() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((8, 8), 40000, np.uint16)).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"train/cat/0.png": b""}, ["train/cat/0.png", "unreadable or truncated"]),
        ({"train/cat/0.png": b"no picture"}, ["train/cat/0.png", "unreadable or truncated"]),
        ({"train/cat/0.png": picture(0)[:100]}, ["train/cat/0.png", "unreadable or truncated"]),
        ({"test/dog/1.png": picture(0, (64, 64), kind="JPEG")[:900]}, ["test/dog/1.png"]),
        ({"train/cat/0.png": grey16()}, ["train/cat/0.png", "I;16"]),
        ({"train/cat/0.png": picture(5, mode="CMYK", kind="TIFF")}, ["train/cat/0.png", "CMYK", "RGBA"]),
        ({"train/emu/0.png": picture(1)}, ["'emu'", "missing from test/", "train/"]),
        ({"test/emu/0.png": picture(1)}, ["'emu'", "missing from train/", "test/"]),
        ({"train/emu/": b"", "test/emu/0.png": picture(1)}, ["'emu'", "no image in train/"]),
        ({"train/cat/deep/0.png": picture(1)}, ["train/cat/deep", "<split>/<class>/<picture>"]),
    ],
)
@pytest.mark.parametrize("kind", ["tar", "tree"])
def test_folder_names_what_is_wrong(prepare, tmp_path, change, words, kind):
    members = {**tree_members(), **change}
    if kind == "tar":
        source = pack(tmp_path / "a.tar", members)
    else:
        source = unpack(tmp_path / "a", {k: v for k, v in members.items() if not k.endswith("/")})
        for name in members:
            if name.endswith("/"):
                (source / name).mkdir(parents=True)
    with refused(str(source), *words):
        prepare(builder="folder", path=str(source), image_size=8)
    assert not (tmp_path / "prepared" / "set.safetensors").exists()


@pytest.mark.parametrize("name", ["../evil.png", "train/../../evil.png", "/abs/evil.png", "train\\..\\evil.png"])
def test_members_that_point_outside_are_refused(prepare, tmp_path, name):
    members = {**tree_members(), name: picture(0)}
    with refused("points outside", "evil.png"):
        prepare(builder="folder", path=str(pack(tmp_path / "a.tar", members)), image_size=8)
    assert not list(tmp_path.rglob("evil.png"))
    if "\\" not in name:
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            for key, content in members.items():
                archive.writestr(key, content)
        with refused("points outside", "evil.png"):
            prepare(builder="folder", path=str(tmp_path / "a.zip"), image_size=8)


def test_links_and_repeated_members_are_refused(prepare, tmp_path):
    path = pack(tmp_path / "a.tar", tree_members())
    with tarfile.open(path, "a") as archive:
        link = tarfile.TarInfo("train/cat/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        archive.addfile(link)
    with refused("train/cat/link.png", "link"):
        prepare(builder="folder", path=str(path), image_size=8)
    path = pack(tmp_path / "b.tar", tree_members())
    with tarfile.open(path, "a") as archive:
        archive.addfile(tarfile.TarInfo("train/cat/0.png"))
    with refused("train/cat/0.png", "twice"):
        prepare(builder="folder", path=str(path), image_size=8)


@pytest.mark.parametrize("name", ["a.tar.xz", "a.tar.gz", "a.tar"])
def test_a_truncated_or_corrupted_archive_is_named(prepare, tmp_path, name):
    path = pack(tmp_path / name, tree_members(count=6))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with refused(str(path)):
        prepare(builder="folder", path=str(path), image_size=8)
    path.write_bytes(b"\x00\x01" * 900)
    with refused(str(path), "truncated or corrupted"):
        prepare(builder="folder", path=str(path), image_size=8)


def test_missing_paths_and_splits_are_named(prepare, tmp_path):
    with refused("nowhere", "no such file"):
        prepare(builder="folder", path=str(tmp_path / "nowhere"), image_size=8)
    only = {k: v for k, v in tree_members().items() if k.startswith("train")}
    with refused("test/<class>/", "val/<class>/"):
        prepare(builder="folder", path=str(pack(tmp_path / "a.tar", only)), image_size=8)
    (tmp_path / "empty").mkdir()
    with refused("train/<class>/"):
        prepare(builder="folder", path=str(tmp_path / "empty"), image_size=8)
