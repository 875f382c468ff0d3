"""Archives from strangers: no name leads outside, no link or device is followed, and nothing is unpacked."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile

import pytest
from raw_data import pack, tree_members
from refusal import refused

from structgan.datasets.archives import members

FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
KINDS = {tarfile.SYMTYPE: "../../outside", tarfile.LNKTYPE: "/etc/hostname"}
KINDS |= dict.fromkeys((tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE), "")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMATS)
def test_links_and_devices_in_a_tar_are_refused(tmp_path, kind, form):
    path = pack(tmp_path / "a.tar", tree_members())
    with tarfile.open(path, "a", format=form) as archive:
        member = tarfile.TarInfo("train/cat/9.png")
        member.type, member.linkname = kind, KINDS[kind]
        archive.addfile(member)
    with refused("train/cat/9.png"):
        list(members(path))


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/evil", "..", "a\\..\\evil", "C:/evil", "C:evil"])
@pytest.mark.parametrize("form", [*FORMATS, "zip"])
def test_names_that_lead_outside_are_refused(tmp_path, name, form):
    path = tmp_path / "archive"
    if form == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            member = zipfile.ZipInfo("placeholder")
            member.filename = name  # the constructor would clean it on some systems
            archive.writestr(member, b"evil")
    else:
        with tarfile.open(path, "w", format=form) as archive:
            member = tarfile.TarInfo(name)
            member.size = 4
            archive.addfile(member, io.BytesIO(b"evil"))
    with refused(name):
        list(members(path))
    assert [each.name for each in tmp_path.iterdir()] == ["archive"]


def test_a_file_that_comes_twice_is_refused(tmp_path):
    path = pack(tmp_path / "a.tar", tree_members())
    with tarfile.open(path, "a") as archive:
        archive.addfile(tarfile.TarInfo("./train/cat/0.png"))
    with refused("train/cat/0.png", "twice"):
        list(members(path))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, None])
def test_links_devices_and_encrypted_files_in_a_zip_are_refused(tmp_path, kind):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        plain = zipfile.ZipInfo("train/plain.png")
        plain.external_attr = (stat.S_IFREG | 0o644) << 16
        archive.writestr(plain, b"1")
        archive.writestr(zipfile.ZipInfo("train/old.png"), b"2")
    assert [content for _, content in members(path)] == [b"1", b"2"]
    with zipfile.ZipFile(path, "a") as archive:
        odd = zipfile.ZipInfo("train/odd.png")
        odd.external_attr = (kind or stat.S_IFREG) << 16
        archive.writestr(odd, "/etc/hostname")
        odd.flag_bits |= 1 if kind is None else 0  # encrypted, says the directory that is written last
    with refused("train/odd.png"):
        list(members(path))
