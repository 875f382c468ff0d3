"""Archives from strangers: nothing is unpacked, and links, devices and encrypted files are refused."""

import stat
import tarfile
import zipfile

import pytest
from raw_data import pack, tree_members
from refusal import refused

from structgan.datasets.archives import members

KINDS = {tarfile.SYMTYPE: "../../outside", tarfile.LNKTYPE: "/etc/hostname", tarfile.CHRTYPE: "", tarfile.FIFOTYPE: ""}


def read(path):
    return [content for _, content in members(path, lambda name: True)]


@pytest.mark.parametrize("kind", KINDS)
def test_links_and_devices_in_a_tar_are_refused(tmp_path, kind):
    path = pack(tmp_path / "a.tar", tree_members())
    with tarfile.open(path, "a") as archive:
        member = tarfile.TarInfo("train/cat/9.png")
        member.type, member.linkname = kind, KINDS[kind]
        archive.addfile(member)
    with refused("train/cat/9.png"):
        read(path)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, None])
def test_links_devices_and_encrypted_files_in_a_zip_are_refused(tmp_path, kind):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo("train/old.png"), b"1")
    assert read(path) == [b"1"]
    with zipfile.ZipFile(path, "a") as archive:
        odd = zipfile.ZipInfo("train/odd.png")
        odd.external_attr = (kind or stat.S_IFREG) << 16
        archive.writestr(odd, "/etc/hostname")
        odd.flag_bits |= 1 if kind is None else 0  # encrypted, says the directory that is written last
    with refused("train/odd.png"):
        read(path)
