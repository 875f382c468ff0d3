"""Files and settings that would run code or leave their folder: pickles, archives, downloads, names in a shell."""

from __future__ import annotations

import copy
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
from halves import SETTINGS
from raw_data import md5, pack, tree_members
from refusal import refused
from workflow_tree import copy_tree, snakemake

from structgan import config, files
from structgan.datasets.members import members
from structgan.metrics import backend, inception

BAD_NAMES = ("x; touch y", "$(touch y)", "`touch y`", "a b", "a'b", "a\n", "../a", "..", "/a", "-rf", "a/b", "a|b", "")


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
        backend.measure(images, images, {**SETTINGS, "extractor": "inception"}, path)
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


# names in a shell


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("section", ["suite", "datasets", "augmentations", "methods", "variants", "grid"])
def test_a_name_that_is_not_plain_is_refused_in_one_line(base, section, name):
    changed = copy.deepcopy(base)
    if section == "suite":
        changed["suite"] = name
    elif section == "grid":
        changed["grid"][0]["datasets"] = [name]
    else:
        blocks = changed["methods"]["structural"]["variants"] if section == "variants" else changed[section]
        blocks[name] = copy.deepcopy(next(iter(blocks.values())))
    with refused("letters, digits, _ . -", section):
        config.check(changed, [])


SPELL = "x; touch bad1 $(touch bad2) `touch bad3` 'touch bad4' & touch bad5"
WILD = """
suite: "suite; touch bad6"
datasets: {{"{spell}": {{builder: digits, image_size: 16, train_size: 60, test_size: 40}}}}
augmentations: {{"none; touch bad7": {{title: "$(touch bad8)"}}}}
grid: [{{datasets: ["{spell}"], methods: [random], augmentations: ["none; touch bad7"], seeds: [0]}}]
evaluation: {{knn: {{k: 5}}}}
"""


def test_names_are_harmless_without_the_schema_too(tmp_path: Path) -> None:
    """Real Snakemake, every name allowed: data, training, probe, tables, figures and page, and no command ran."""
    tree = copy_tree(tmp_path)
    (tree / "wild.yaml").write_text(WILD.format(spell=SPELL))
    configs = ("workflow/config/demo.yaml", "tests/tiny.yaml", "wild.yaml")
    done = snakemake(tree, "--dry-run", configs=configs)
    line = done.stderr.splitlines()[-1]
    assert done.returncode == 2 and line.startswith("structgan: wild.yaml: ") and "letters, digits" in line
    schema = tree / "workflow/schemas/config.schema.yaml"
    open_schema = schema.read_text().replace('pattern: "^[A-Za-z0-9][A-Za-z0-9_.-]*$(?!\\\\n)"', 'pattern: ""')
    assert open_schema != schema.read_text()
    schema.write_text(open_schema)
    done = snakemake(tree, configs=configs)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert (tree / "results/report/suite; touch bad6.html").stat().st_size > 10_000
    run = f"results/runs/suite; touch bad6/{SPELL}/random/none; touch bad7/base/seed=0"
    assert files.read_json(tree / run / "probe.json")["dataset"]["name"] == SPELL
    assert not [path for path in tree.rglob("bad*") if path.name[3:].isdigit()]
