"""CIFAR, STL-10, ImageNet-10 and Imagenette from tiny files in their formats, and downloads."""

import functools
import http.server
import threading

import numpy as np
import published_archives as published
import pytest
from raw_data import md5, pack, unpack
from refusal import refused

from structgan.datasets import imagenet10, imagenette


@pytest.mark.parametrize("kind", ["cifar10", "cifar100"])
def test_cifar_reads_the_binary_records(prepare, tmp_path, kind):
    archive, pixels = published.cifar(tmp_path / "raw", kind)
    built = prepare(builder=kind, md5=md5(archive))
    assert np.array_equal(built.train.images.numpy(), pixels[:20].reshape(-1, 3, 32, 32))
    assert np.array_equal(built.test.images.numpy(), pixels[20:].reshape(-1, 3, 32, 32))
    assert built.train.labels.tolist() == [*range(10), *range(10)] and built.classes[9] == "class9"
    assert built.training_labels is built.train.labels and built.training_images is built.train.images
    assert prepare(builder=kind, md5=md5(archive), image_size=16).train.images.shape == (20, 3, 16, 16)


def test_cifar_refuses_another_md5_and_wrong_records(prepare, tmp_path):
    archive, _ = published.cifar(tmp_path / "raw", "cifar10")
    with refused(str(archive), "c32a1d4ab5d03f1284b67883e8d87530"):
        prepare(builder="cifar10")
    archive, _ = published.cifar(tmp_path / "raw", "cifar10", label=10)
    with refused("train/labels"):
        prepare(builder="cifar10", md5=md5(archive))
    files = {"data_batch_1.bin": b"\0" * 3073, "test_batch.bin": b"\0" * 3073, "batches.meta.txt": b"a"}
    for name in files:
        with refused(str(archive), name[:10]):
            prepare(builder="cifar10", md5=md5(pack(archive, {k: v for k, v in files.items() if k != name})))
    with refused(str(archive), "test_batch.bin"):
        prepare(builder="cifar10", md5=md5(pack(archive, {**files, "test_batch.bin": b"\0" * 3000})))


def test_stl10_trains_on_its_unlabelled_part(prepare, tmp_path):
    archive, images = published.stl(tmp_path / "raw")
    built = prepare(builder="stl10", md5=md5(archive))
    assert np.array_equal(built.train.images.numpy(), images[:10])
    assert np.array_equal(built.training_images.numpy(), images[20:]) and built.training_labels is None
    assert built.train.labels.tolist() == built.test.labels.tolist() == list(range(10))
    small = prepare(builder="stl10", md5=md5(archive), image_size=48)
    assert small.unlabelled.shape == (4, 3, 48, 48)
    assert abs(small.unlabelled.float().mean() - built.unlabelled.float().mean()) < 2


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"train_y_bin": b"\0" + bytes(range(1, 10))}, "train/labels"),
        ({"test_y_bin": b"\x01" * 9}, "test/labels"),
        ({"unlabeled_X_bin": b"\x01" * 9}, "unlabeled_X.bin"),
        ({"unlabeled_X_bin": b""}, "unlabeled_X.bin"),
        ({"train_y_bin": b"\x01" * 10}, "'class1'"),
    ],
)
def test_stl10_names_what_is_wrong(prepare, tmp_path, change, named):
    archive, _ = published.stl(tmp_path / "raw", **change)
    with refused(named):
        prepare(builder="stl10", md5=md5(archive))


def test_imagenet10_takes_its_ten_classes_from_the_whole_tree(prepare, tmp_path):
    root = tmp_path / "raw/imagenet"
    with refused(str(root)):
        prepare(builder="imagenet10")
    members = published.imagenet([*imagenet10.CLASSES, "n01440764"])
    unpack(root, {**members, "train/n01440764/broken.JPEG": b"of another class, so it is not read"})
    built = prepare(builder="imagenet10", image_size=16)
    assert built.classes == tuple(imagenet10.CLASSES.values())
    assert len(built.train) == 20 and "ImageNet-10" in built.note
    for file in (root / "val/n07747607").iterdir():
        file.unlink()
    with refused("'n07747607' is missing from val/"):
        prepare(builder="imagenet10", image_size=16)


def test_imagenette_reads_its_archive_or_its_folder(prepare, tmp_path):
    raw = tmp_path / "raw"
    members = published.imagenet(imagenette.CLASSES) | {"noisy_imagenette.csv": b"path,noisy"}
    archive = pack(raw / "imagenette2-160.tgz", {f"imagenette2-160/{k}": v for k, v in members.items()})
    packed = prepare(builder="imagenette", image_size=16, md5=md5(archive))
    root = unpack(raw / "imagenette2-160", members)
    unpacked = prepare(builder="imagenette", image_size=16)
    assert packed.content_hash == unpacked.content_hash and packed.classes[0] == "tench"
    (root / "train/n01440764").rename(root / "train/n0")
    with refused(str(root), "n01440764"):
        prepare(builder="imagenette", image_size=16)


@pytest.fixture
def server(tmp_path):
    """The address of a real HTTP server of the files in tmp_path/www."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "www")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


def test_a_download_is_kept_only_if_its_md5_is_right(prepare, tmp_path, server):
    archive, _ = published.cifar(tmp_path / "www", "cifar10")
    url, raw, whole = f"{server}/{archive.name}", tmp_path / "raw", archive.read_bytes()
    right = md5(archive)
    archive.write_bytes(whole[:-700])
    with refused(url):
        prepare(builder="cifar10", url=url, md5=right)
    assert not any(raw.iterdir()) and not (tmp_path / "prepared").exists()
    archive.write_bytes(whole)
    assert len(prepare(builder="cifar10", url=url, md5=right).train) == 20
    archive.unlink()
    assert [path.name for path in raw.iterdir()] == [archive.name]
    assert len(prepare(builder="cifar10", url=url, md5=right).train) == 20


@pytest.mark.parametrize("place", ["http://127.0.0.1:9", "http://host.invalid", "file:///nowhere"])
def test_without_a_network_the_file_and_its_folder_are_named(prepare, tmp_path, place):
    with refused(f"{place}/absent.tar.gz", f"{tmp_path / 'raw'}/"):
        prepare(builder="cifar10", url=f"{place}/absent.tar.gz")
    assert not any((tmp_path / "raw").iterdir())
