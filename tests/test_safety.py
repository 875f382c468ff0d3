"""Files and settings that would run code or leave their folder: pickles, archives, downloads, names in a shell."""

from __future__ import annotations

import http.server
import io
import pickle
import stat
import tarfile
import threading
import zipfile
from pathlib import Path

import pytest
import torch
from raw_data import md5, pack, tree_members
from refusal import refused

from structgan import config, files
from structgan.datasets.members import members
from structgan.evaluation import inception, torch_fidelity


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


# pickles


def test_cifar_never_unpickles(bomb, prepare, tmp_path):
    """The Python version of the archive is a pickle: under the binary version's name, and with a hash that fits."""
    content, fuse = bomb
    names = ("data_batch_1", "test_batch", "batches.meta")
    python = {f"cifar-10-batches-py/{name}": content for name in names}
    archive = pack(tmp_path / "raw/cifar-10-binary.tar.gz", python)
    with refused("corrupted"):
        prepare(builder="cifar10")
    with refused("no file batches.meta.txt"):
        prepare(builder="cifar10", md5=md5(archive))
    disguised = {f"{name}.bin": content for name in names} | {"batches.meta.txt": content}
    with refused(str(archive)):
        prepare(builder="cifar10", md5=md5(pack(archive, disguised)))
    assert not fuse.exists()


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
        inception.weights(path)
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


# archives

KINDS = {
    "symbolic link": (tarfile.SYMTYPE, "../../outside"),
    "hard link": (tarfile.LNKTYPE, "/etc/hostname"),
    "character device": (tarfile.CHRTYPE, ""),
    "block device": (tarfile.BLKTYPE, ""),
    "pipe": (tarfile.FIFOTYPE, ""),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_tar_with_anything_but_files_and_folders_is_refused(prepare, tmp_path, kind, form):
    path = pack(tmp_path / "a.tar", tree_members())
    with tarfile.open(path, "a", format=form) as archive:
        member = tarfile.TarInfo("train/cat/9.png")
        member.type, member.linkname = KINDS[kind]
        archive.addfile(member)
    with refused("train/cat/9.png", "link or a device"):
        prepare(builder="folder", path=str(path), image_size=8)


def test_a_tar_that_writes_through_its_own_link_leaves_nothing_outside(prepare, tmp_path):
    """The classic: a link to a folder outside, then a file below the link."""
    outside = tmp_path / "outside"
    outside.mkdir()
    path = pack(tmp_path / "a.tar", tree_members())
    with tarfile.open(path, "a") as archive:
        link = tarfile.TarInfo("train/escape")
        link.type, link.linkname = tarfile.SYMTYPE, str(outside)
        archive.addfile(link)
        file = tarfile.TarInfo("train/escape/evil.png")
        file.size = 4
        archive.addfile(file, io.BytesIO(b"evil"))
    with refused("train/escape", "link"):
        prepare(builder="folder", path=str(path), image_size=8)
    assert not any(outside.iterdir())


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/evil", "..", "a\\..\\evil", "C:/evil", "C:evil"])
@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, "zip"])
def test_a_member_whose_name_leaves_the_folder_is_refused(tmp_path, name, form):
    path = tmp_path / "archive"
    if form == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            member = zipfile.ZipInfo("placeholder")
            member.filename = name  # as it is: the constructor would clean it on some systems
            archive.writestr(member, b"evil")
    else:
        with tarfile.open(path, "w", format=form) as archive:
            member = tarfile.TarInfo(name)
            member.size = 4
            archive.addfile(member, io.BytesIO(b"evil"))
    with refused("points outside the archive"):
        list(members(path))
    assert [each.name for each in tmp_path.iterdir()] == ["archive"]


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_a_zip_with_a_link_or_a_device_is_refused(tmp_path, kind):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        plain = zipfile.ZipInfo("train/plain.png")
        plain.external_attr = (stat.S_IFREG | 0o644) << 16
        archive.writestr(plain, b"1")
        archive.writestr(zipfile.ZipInfo("train/old.png"), b"2")
    assert [content for _, content in members(tmp_path / "a.zip")] == [b"1", b"2"]
    with zipfile.ZipFile(tmp_path / "a.zip", "a") as archive:
        odd = zipfile.ZipInfo("train/odd.png")
        odd.external_attr = (kind | 0o777) << 16
        archive.writestr(odd, "/etc/hostname")
    with refused("train/odd.png", "link or a device"):
        list(members(tmp_path / "a.zip"))


# downloads


@pytest.fixture
def server():
    """A real HTTP server that answers every request with ``server.answer`` and claims ``server.length`` bytes."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(self.server.length))
            self.end_headers()
            self.wfile.write(self.server.answer)

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield httpd
        httpd.shutdown()


@pytest.mark.parametrize("missing", [0, 700])
def test_a_download_of_other_bytes_or_cut_short_leaves_nothing(prepare, tmp_path, server, missing):
    right = b"r" * 3000
    server.answer, server.length = (right[:-missing], 3000) if missing else (b"w" * 3000, 3000)
    (tmp_path / "right").write_bytes(right)
    with refused("127.0.0.1"):
        prepare(builder="cifar10", url=f"http://127.0.0.1:{server.server_port}/c.tar.gz", md5=md5(tmp_path / "right"))
    assert not any((tmp_path / "raw").iterdir()) and not (tmp_path / "prepared").exists()
