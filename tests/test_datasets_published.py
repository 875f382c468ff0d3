"""CIFAR, STL-10, ImageNet-10 and Imagenette from tiny files in their formats, and their download from a real server."""

from __future__ import annotations

import http.server
import threading
from pathlib import Path

import numpy as np
import pytest
from raw_data import md5, pack, picture, unpack
from refusal import refused

from structgan.datasets import imagenet, imagenette


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
