"""Every data set builder on tiny real files, the prepared file, and each thing that can be wrong with either."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import textwrap
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from structgan import datasets, files
from structgan.datasets import digits, imagenet, imagenette, store
from structgan.errors import UserError

TINY = {"builder": "digits", "train_size": 60, "test_size": 40, "image_size": 16}


def refused(*words: str):
    """Expect one line with every word in it."""

    class Refused:
        def __enter__(self):
            self.inner = pytest.raises(UserError)
            self.caught = self.inner.__enter__()

        def __exit__(self, *error):
            done = self.inner.__exit__(*error)
            message = str(self.caught.value)
            assert "\n" not in message
            for word in words:
                assert word in message, message
            return done

    return Refused()


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def picture(seed: int, size=(8, 8), mode: str = "RGB", kind: str = "PNG") -> bytes:
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), np.uint8)).convert(mode)
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


def pack(path: Path, members: dict[str, bytes]) -> Path:
    """A tar of the given members, compressed as its suffix says; a name with a final slash is a folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = {".xz": "w:xz", ".gz": "w:gz", ".tgz": "w:gz"}.get(path.suffix, "w")
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name.rstrip("/"))
            info.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def tree_members(splits=("train", "test"), classes=("cat", "dog"), count: int = 2) -> dict[str, bytes]:
    names = [f"{split}/{name}/{i}.png" for split in splits for name in classes for i in range(count)]
    return {name: picture(i) for i, name in enumerate(names)}


def unpack(root: Path, members: dict[str, bytes]) -> Path:
    for name, content in members.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


@pytest.fixture
def prepare(tmp_path):
    """Build with the given settings and load the result, verified."""

    def run(**settings):
        out = tmp_path / "prepared" / "set.safetensors"
        datasets.prepare(settings, out, tmp_path / "raw")
        return datasets.load(out, verify=True)

    return run


@pytest.fixture
def tiny(tmp_path) -> Path:
    out = tmp_path / "tiny.safetensors"
    datasets.prepare(TINY, out, tmp_path)
    return out


@pytest.mark.parametrize("size", [16, 32])
def test_digits_are_deterministic_from_the_seed(prepare, size):
    settings = {**TINY, "image_size": size}
    one, two = prepare(**settings), prepare(**settings)
    other = prepare(**{**settings, "seed": 1})
    assert one.content_hash == two.content_hash != other.content_hash
    assert one.train.images.shape == (60, 3, size, size) and one.test.images.shape == (40, 3, size, size)
    assert one.classes == tuple("0123456789") and one.image_size == size
    assert set(one.train.labels.tolist()) == set(range(10))
    assert not torch.equal(one.train.images[:40], one.test.images)


def test_digits_use_disjoint_scans_evenly_and_the_right_ones(monkeypatch, prepare):
    seen: list[np.ndarray] = []
    compose = digits.compose
    monkeypatch.setattr(digits, "compose", lambda scans, *rest: seen.append(scans) or compose(scans, *rest))
    from sklearn.datasets import load_digits

    bunch = load_digits()
    index = {scan.tobytes(): number for number, scan in enumerate(bunch.images / 16.0)}
    built = prepare(**{**TINY, "train_size": 3000, "test_size": 1100})
    used = [np.array([index[scan.tobytes()] for scan in scans]) for scans in seen]
    assert set(used[0]) == set(range(1297)) and set(used[1]) == set(range(1297, 1797))
    assert np.ptp(np.bincount(used[0])) == 1 and np.ptp(np.bincount(used[1] - 1297)) == 1
    assert built.train.labels.tolist() == bunch.target[used[0]].tolist()
    assert built.test.labels.tolist() == bunch.target[used[1]].tolist()


def test_a_digit_stands_out_everywhere_and_colour_tells_nothing_of_the_class():
    rng = np.random.default_rng(0)
    solid = digits.compose(np.ones((200, 8, 8)), 16, rng).astype(float) / 255
    blank = digits.compose(np.zeros((200, 8, 8)), 16, np.random.default_rng(0)).astype(float) / 255
    distance = np.sqrt(((solid - blank) ** 2).sum(1))  # same draws: the pasted square against its own background
    pasted = distance > 0.1
    assert (pasted.sum((1, 2)) == 144).all()
    assert distance[pasted].min() >= digits.CONTRAST - 0.02
    steps = np.abs(np.diff(blank, axis=-1)).max()
    assert steps < 0.7 / 15 + 2 / 255  # smooth: a corner differs from the next by at most 0.7
    corners = {
        (int(rows.argmax()), int(columns.argmax())) for rows, columns in zip(pasted.any(2), pasted.any(1), strict=True)
    }
    assert corners == {(top, left) for top in range(5) for left in range(5)}


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
    [("L", "PNG"), ("1", "PNG"), ("LA", "PNG"), ("P", "PNG"), ("RGBA", "PNG"), ("CMYK", "TIFF"), ("P", "GIF")],
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


def cifar_archive(raw: Path, kind: str, label: int | None = None) -> tuple[Path, np.ndarray]:
    """A CIFAR archive of 2 training files with 10 records each and a test file with 10; and its training pixels."""
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, (30, 3072), np.uint8)
    fine = np.tile(np.arange(10, dtype=np.uint8), 3)
    fine[0] = fine[0] if label is None else label
    names = "\n".join(f"class{i}" for i in range(10)) + "\n\n"
    if kind == "cifar10":
        records = np.concatenate([fine[:, None], pixels], 1)
        parts = {"data_batch_1.bin": records[:10], "data_batch_2.bin": records[10:20], "test_batch.bin": records[20:]}
        folder, meta = "cifar-10-batches-bin", "batches.meta.txt"
    else:
        records = np.concatenate([np.full((30, 1), 255, np.uint8), fine[:, None], pixels], 1)
        parts = {"train.bin": records[:20], "test.bin": records[20:]}
        folder, meta = "cifar-100-binary", "fine_label_names.txt"
    members = {f"{folder}/{name}": part.tobytes() for name, part in reversed(parts.items())}
    members |= {f"{folder}/{meta}": names.encode(), f"{folder}/readme.html": b"x"}
    return pack(raw / f"cifar-{kind[5:]}-binary.tar.gz", members), pixels


@pytest.mark.parametrize("kind", ["cifar10", "cifar100"])
def test_cifar_reads_the_binary_records(prepare, tmp_path, kind):
    archive, pixels = cifar_archive(tmp_path / "raw", kind)
    built = prepare(builder=kind, md5=md5(archive))
    assert np.array_equal(built.train.images.numpy(), pixels[:20].reshape(-1, 3, 32, 32))
    assert np.array_equal(built.test.images.numpy(), pixels[20:].reshape(-1, 3, 32, 32))
    assert built.train.labels.tolist() == [*range(10), *range(10)] and built.classes[9] == "class9"
    assert built.training_labels is built.train.labels and built.training_images is built.train.images
    small = prepare(builder=kind, md5=md5(archive), image_size=16)
    assert small.train.images.shape == (20, 3, 16, 16)


def test_cifar_refuses_another_hash_and_broken_records(prepare, tmp_path):
    archive, _ = cifar_archive(tmp_path / "raw", "cifar10")
    with refused(str(archive), "truncated or corrupted", "c32a1d4ab5d03f1284b67883e8d87530", "cs.toronto.edu"):
        prepare(builder="cifar10")
    archive, _ = cifar_archive(tmp_path / "raw", "cifar10", label=10)
    with refused("label 10", "10 class names"):
        prepare(builder="cifar10", md5=md5(archive))
    pack(archive, {"data_batch_1.bin": b"\0" * 3000, "test_batch.bin": b"\0" * 3073, "batches.meta.txt": b"a"})
    with refused("data_batch_1.bin", "3000 bytes", "3073"):
        prepare(builder="cifar10", md5=md5(archive))
    pack(archive, {"data_batch_1.bin": b"\0" * 3073, "batches.meta.txt": b"a"})
    with refused("test_batch.bin"):
        prepare(builder="cifar10", md5=md5(archive))


def stl_archive(raw: Path, **change: bytes) -> tuple[Path, np.ndarray]:
    rng = np.random.default_rng(4)
    images = rng.integers(0, 256, (24, 3, 96, 96), np.uint8)
    labels = (np.arange(10) + 1).astype(np.uint8).tobytes()
    columns = images.transpose(0, 1, 3, 2)
    members = {
        "class_names.txt": "\n".join(f"class{i}" for i in range(10)).encode(),
        "train_X.bin": columns[:10].tobytes(),
        "test_X.bin": columns[10:20].tobytes(),
        "unlabeled_X.bin": columns[20:].tobytes(),
        "train_y.bin": labels,
        "test_y.bin": labels,
        "fold_indices.txt": b"0 1",
    }
    for name, content in change.items():
        members[name.replace("_bin", ".bin")] = content
    return pack(raw / "stl10_binary.tar.gz", {f"stl10_binary/{k}": v for k, v in members.items() if v}), images


def test_stl10_trains_on_its_unlabelled_part(prepare, tmp_path):
    archive, images = stl_archive(tmp_path / "raw")
    built = prepare(builder="stl10", md5=md5(archive))
    assert np.array_equal(built.train.images.numpy(), images[:10])
    assert np.array_equal(built.training_images.numpy(), images[20:])
    assert built.training_labels is None
    assert built.train.labels.tolist() == built.test.labels.tolist() == list(range(10))
    small = prepare(builder="stl10", md5=md5(archive), image_size=48)
    assert small.unlabelled.shape == (4, 3, 48, 48)
    assert abs(small.unlabelled.float().mean() - built.unlabelled.float().mean()) < 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"train_y_bin": b"\0" + bytes(range(1, 10))}, ["train_y.bin", "10 classes"]),
        ({"test_y_bin": b"\x01" * 9}, ["test_y.bin", "10 images"]),
        ({"unlabeled_X_bin": b"\x01" * 9}, ["unlabeled_X.bin", "27648"]),
        ({"unlabeled_X_bin": b""}, ["no file unlabeled_X.bin"]),
        ({"train_y_bin": b"\x01" * 10}, ["'class1' has no image in the train split"]),
    ],
)
def test_stl10_names_what_is_wrong(prepare, tmp_path, change, words):
    archive, _ = stl_archive(tmp_path / "raw", **change)
    with refused(*words):
        prepare(builder="stl10", md5=md5(archive))


def test_imagenet10_takes_its_ten_classes_from_the_whole_tree(prepare, tmp_path):
    with refused(str(tmp_path / "raw" / "imagenet"), "image-net.org", "n02056570"):
        prepare(builder="imagenet10")
    members = {
        f"{split}/{wnid}/{wnid}_{i}.JPEG": picture(i, (40, 30), kind="JPEG")
        for split in ("train", "val")
        for wnid in (*imagenet.CLASSES, "n01440764")
        for i in range(2)
    }
    members["train/n01440764/broken.JPEG"] = b"not read: no class of the ten"
    unpack(tmp_path / "raw" / "imagenet", members)
    built = prepare(builder="imagenet10", image_size=16)
    assert built.classes == tuple(imagenet.CLASSES.values()) and len(built.train) == 20
    assert built.note == "ImageNet-10 (clustering list)"
    for file in (tmp_path / "raw" / "imagenet" / "val" / "n07747607").iterdir():
        file.unlink()
    with refused("'n07747607' has no image in val/"):
        prepare(builder="imagenet10", image_size=16)
    (tmp_path / "raw" / "imagenet" / "val" / "n07747607").rmdir()
    with refused("'n07747607' is missing from val/"):
        prepare(builder="imagenet10", image_size=16)


def test_imagenette_reads_its_archive_or_tree(prepare, tmp_path):
    members = {
        f"imagenette2-160/{split}/{wnid}/{i}.JPEG": picture(i, (40, 30), kind="JPEG")
        for split in ("train", "val")
        for wnid in imagenette.CLASSES
        for i in range(2)
    }
    members["imagenette2-160/noisy_imagenette.csv"] = b"path,noisy"
    archive = pack(tmp_path / "raw" / "imagenette2-160.tgz", members)
    packed = prepare(builder="imagenette", image_size=16, md5=md5(archive))
    unpack(tmp_path / "raw", members)
    unpacked = prepare(builder="imagenette", image_size=16)
    assert packed.content_hash == unpacked.content_hash and packed.classes[0] == "tench"
    (tmp_path / "raw/imagenette2-160/train/n01440764").rename(tmp_path / "raw/imagenette2-160/train/n0")
    (tmp_path / "raw/imagenette2-160/val/n01440764").rename(tmp_path / "raw/imagenette2-160/val/n0")
    with refused("not Imagenette"):
        prepare(builder="imagenette", image_size=16)


@pytest.fixture
def server(tmp_path):
    """A real HTTP server over ``tmp_path/www``; yields its address."""
    (tmp_path / "www").mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path / "www"))

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


def test_a_download_is_kept_only_if_its_hash_is_right(prepare, tmp_path, server):
    archive, _ = cifar_archive(tmp_path / "www", "cifar10")
    url, raw = f"{server}/{archive.name}", tmp_path / "raw"
    with refused(url, "MD5", "nothing was kept"):
        prepare(builder="cifar10", url=url)
    assert list(raw.iterdir()) == []
    assert len(prepare(builder="cifar10", url=url, md5=md5(archive)).train) == 20
    assert [path.name for path in raw.iterdir()] == [archive.name]
    archive.unlink()
    assert len(prepare(builder="cifar10", url=url, md5=md5(raw / archive.name)).train) == 20


def test_without_a_network_one_line_names_the_file_and_the_folder(prepare, tmp_path, server):
    raw = tmp_path / "raw"
    for url in (f"{server}/absent.tar.gz", "http://127.0.0.1:9/absent.tar.gz", "http://host.invalid/absent.tar.gz"):
        with refused(url, "absent.tar.gz", f"put it in {raw}/"):
            prepare(builder="cifar10", url=url)
        assert list(raw.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, ["'builder' is missing", "cifar10"]),
        ({"builder": "cifar"}, ["unknown builder 'cifar'", "did you mean 'cifar10'"]),
        ({**TINY, "train_sise": 3}, ["unknown key 'train_sise'", "did you mean 'train_size'"]),
        ({**TINY, "image_size": 64}, ["image_size is 64", "16, 32"]),
        ({**TINY, "train_size": 0}, ["train_size is 0"]),
        ({**TINY, "seed": True}, ["seed is True"]),
        ({**TINY, "train_scans": [0, 1300]}, ["overlap", "1300", "1297"]),
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
    assert settings["train_scans"] == [0, 1297] and settings["train_size"] == 60 and settings["seed"] == 0
    named = datasets.prepare({**TINY, "name": "other", "note": "n"}, out, tmp_path)
    assert named["content_hash"] == summary["content_hash"] and datasets.load(out).note == "n"


def test_content_hash_sees_names_shapes_types_and_bytes():
    base = {"a": torch.arange(12, dtype=torch.uint8), "b": torch.zeros(2, dtype=torch.int64)}
    variants = [
        {"c": base["a"], "b": base["b"]},
        {"a": base["a"].view(3, 4), "b": base["b"]},
        {"a": base["a"].long(), "b": base["b"]},
        {"a": base["a"].flip(0), "b": base["b"]},
    ]
    hashes = [store.content_hash(tensors) for tensors in (base, *variants)]
    assert len(set(hashes)) == 5
    assert store.content_hash(dict(reversed(base.items()))) == hashes[0]
    assert store.content_hash({"a": base["a"].view(3, 4).T.contiguous().T, "b": base["b"]}) == hashes[2]


def test_load_maps_the_file_and_moves(tiny):
    loaded = datasets.load(tiny)
    maps = Path("/proc/self/maps").read_text() if Path("/proc/self/maps").exists() else tiny.name
    assert tiny.name in maps
    moved = loaded.to("meta")
    assert moved.train.images.device.type == moved.test.labels.device.type == "meta"
    assert moved.classes == loaded.classes and len(moved.train) == 60


def test_a_damaged_prepared_file_says_how_to_make_it_again(tiny):
    again = "snakemake data"
    with refused("absent.safetensors", "no such file", again):
        datasets.load(tiny.with_name("absent.safetensors"))
    whole = tiny.read_bytes()
    for cut in (0, 5, 300, len(whole) // 2, len(whole) - 1):
        tiny.write_bytes(whole[:cut])
        with refused(str(tiny), "truncated or damaged", again):
            datasets.load(tiny)
    flipped = bytearray(whole)
    flipped[-5] ^= 1
    tiny.write_bytes(flipped)
    with refused(str(tiny)):  # caught by the labels' range or by the hash, whichever tensor lies last
        datasets.load(tiny, verify=True)
    middle = bytearray(whole)
    middle[len(whole) // 2] ^= 1  # inside an image: only the hash can see it
    tiny.write_bytes(middle)
    assert len(datasets.load(tiny).train) == 60
    with refused(str(tiny), "corrupted", "content hash", again):
        datasets.load(tiny, verify=True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t, m: m.pop("format"), ["not a prepared data set"]),
        (lambda t, m: m.pop("classes"), ["'classes'"]),
        (lambda t, m: m.update(classes="[broken"), ["damaged"]),
        (lambda t, m: m.update(image_size="17"), ["train/images", "17, 17"]),
        (lambda t, m: t.pop("test/labels"), ["'test/labels'"]),
        (lambda t, m: t.update({"train/images": t["train/images"].float()}), ["float32", "uint8"]),
        (lambda t, m: t.update({"train/labels": t["train/labels"][:-1].clone()}), ["train/labels do not fit"]),
        (lambda t, m: t.update({"test/labels": t["test/labels"] - 1}), ["test/labels do not fit"]),
        (lambda t, m: t.update({"test/labels": t["test/labels"] + 1}), ["test/labels do not fit"]),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(tiny, change, words):
    tensors, metadata = files.load_tensors(tiny)
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    change(tensors, metadata)
    files.save_tensors(tiny, tensors, metadata)
    with refused(str(tiny), *words, "snakemake data"):
        datasets.load(tiny)


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
