"""A folder, a tar and a zip of the same oddities have the same outcome; and what only an archive can hold."""

import os
import socket
import tarfile
import unicodedata
import zipfile

import pytest
from raw_data import Hard, Link, Pipe, pack, tree_members, unpack
from refusal import refused

from structgan import trees
from structgan.errors import UserError

PLAIN = tree_members()
CAT, DOG = PLAIN["train/cat/0.png"], PLAIN["train/dog/0.png"]
TRAIN = {name: content for name, content in PLAIN.items() if name.startswith("train/")}
TEST = {name.removeprefix("test/"): content for name, content in PLAIN.items() if name.startswith("test/")}
EMU = {name.replace("cat", "emu"): content for name, content in PLAIN.items() if "cat" in name}
LATIN = "caf\udce9"
ACUTE = [unicodedata.normalize(form, "café") for form in ("NFC", "NFD")]


def both(name, content):
    """A file of this name in a class in train/ and in test/."""
    return {f"{split}/{name}": content for split in ("train", "test")}


def inside(folder, members):
    return {f"{folder}/{name}": content for name, content in members.items()}


ACCEPTED = {
    "hidden files and what systems leave": (
        {**PLAIN, "README.md": b"x", "train/README.md": b"x", "train/cat/.hidden": b"x", "train/.DS_Store": b"x",
         "__MACOSX/train/cat/0.png": b"x", "train/cat/.ipynb_checkpoints/0.png": b"x", "train/.git/config": b"x",
         "test/dog/@eaDir/0.png": b"x", "train/dog/thumbs.db": b"x", "train/dog/Desktop.ini": b"x",
         "train/cat/._0.png": b"x", "train/dog/Icon\r": b"", "train/lost+found/": b"",
         "train/cat/.gone": Link("gone"), "train/.pipe": Pipe()}, PLAIN),
    "anything outside of class folders": (
        {**PLAIN, "gone": Link("nowhere"), "pipe": Pipe(), "extra/cat/0.png": b"x", "notes": b"x"}, PLAIN),
    "a damaged val/ beside test/": ({**PLAIN, "val/cat/0.png": b"x", "val/emu": Link("gone")}, PLAIN),
    "val/ without test/": ({**TRAIN, **inside("val", TEST), "test": b"a file"}, PLAIN),
    "one common folder": ({"set/": b"", **inside("./set", PLAIN)}, PLAIN),
    "a common folder beside others": ({**inside("set", PLAIN), "papers/cat/0.png": b"x"}, PLAIN),
    "a link to a picture": ({**PLAIN, "train/cat/9.png": Link("../dog/0.png")}, {**PLAIN, "train/cat/9.png": DOG}),
    "a hard link": ({**PLAIN, "train/cat/9.png": Hard("train/dog/0.png")}, {**PLAIN, "train/cat/9.png": DOG}),
    "a link to a link": (
        {**PLAIN, "train/cat/8.png": Link("9.png"), "train/cat/9.png": Link("../../train/dog/0.png")},
        {**PLAIN, "train/cat/8.png": DOG, "train/cat/9.png": DOG}),
    "a link to a class": (
        {**PLAIN, **both("emu", Link("./cat"))}, {**PLAIN, **EMU}),
    "a link to a split": ({**TRAIN, **inside("held/out", TEST), "test": Link("held/out")}, PLAIN),
    "names that differ by case": ({**PLAIN, "train/cat/0.PNG": DOG}, {**PLAIN, "train/cat/0.PNG": DOG}),
    "names that differ by normalization": (
        {**PLAIN, **{f"train/cat/{name}.png": DOG for name in ACUTE}},
        {**PLAIN, "train/cat/8.png": DOG, "train/cat/9.png": DOG}),
    "backslashes, colons and spaces in names": (
        {**PLAIN, "train/cat/x\\9.png": DOG, "train/cat/x:\u202f9.png": DOG},
        {**PLAIN, "train/cat/8.png": DOG, "train/cat/9.png": DOG}),
}  # fmt: skip
REFUSED = {
    "a broken link": ({**PLAIN, "train/cat/9.png": Link("gone")}, "train/cat/9.png: a broken link"),
    "a broken link to a class": ({**PLAIN, **both("emu", Link("gone"))}, "train/emu: a broken link"),
    "a broken link to a split": ({**TRAIN, **inside("val", TEST), "test": Link("gone")}, "test: a broken link"),
    "a circle of links": ({**PLAIN, "train/cat/8": Link("9"), "train/cat/9": Link("8")}, "train/cat/8: a broken link"),
    "a link to a folder above": ({**PLAIN, "train/cat/up": Link("..")}, "train/cat/up: a folder inside"),
    "a link to the top": ({**PLAIN, "train/cat/9": Link("../..")}, "train/cat/9: a folder inside a class folder"),
    "a link through a file": ({**PLAIN, "train/cat/9": Link("0.png/x")}, "train/cat/9: a broken link"),
    "a pipe": ({**PLAIN, "train/cat/9.png": Pipe()}, "train/cat/9.png: a device, a pipe or a socket"),
    "a pipe among classes": ({**PLAIN, "test/emu": Pipe()}, "test/emu: a device, a pipe or a socket"),
    "a link to a pipe": ({**PLAIN, "x": Pipe(), "train/cat/9": Link("../../x")}, "train/cat/9: a device"),
    "a class that is not UTF-8": ({**PLAIN, **both(f"{LATIN}/0.png", CAT)}, r"caf\udce9': the name is not UTF-8"),
    "a picture that is not UTF-8": ({**PLAIN, f"train/cat/{LATIN}": CAT}, r"cat/caf\udce9': the name is not UTF-8"),
    "classes that differ by case": ({**PLAIN, **both("Cat/0.png", CAT)}, "'Cat' and 'cat' differ only by case"),
    "classes that differ by normalization": (
        {**PLAIN, f"train/{ACUTE[0]}/0.png": CAT, f"test/{ACUTE[1]}/0.png": CAT}, r"'cafe\u0301' and 'caf\xe9' differ"),
    "backslashes for slashes": ({n.replace("/", "\\"): c for n, c in PLAIN.items()}, "no folder train/<class>/"),
    "a drive in front": (inside("C:", inside("x", PLAIN)), "no folder train/<class>/"),
    "two common folders": ({**inside("a", PLAIN), **inside("b", PLAIN)}, "both in a/ and in b/"),
    "an empty class": ({**PLAIN, "train/emu/": b"", "test/emu/": b""}, "class 'emu' is missing from train/"),
    "a class in train/ only": ({**PLAIN, "train/emu/0.png": CAT}, "class 'emu' is missing from test/"),
    "a class in test/ only": ({**PLAIN, "test/emu/0.png": CAT}, "class 'emu' is missing from train/"),
    "a folder in a class": ({**PLAIN, "train/cat/deep/0.png": CAT}, "train/cat/deep: a folder inside a class folder"),
    "no test split": (TRAIN, "no folder test/<class>/ (or val/<class>/)"),
    "class folders without splits": ({f"{n}/{i}.png": CAT for n in "ab" for i in range(5)}, "set split"),
    "a single class": (tree_members(classes=["cat"]), "'cat' is the only class"),
    "text among pictures": ({**PLAIN, "test/dog/notes.txt": b"x"}, "test/dog/notes.txt: unreadable"),
    "a line feed in a name": ({**PLAIN, "train/cat/9\n.png": b""}, r"'train/cat/9\n.png': unreadable"),
    "nothing": ({"notes": b"x"}, "no folder train/<class>/"),
}  # fmt: skip


@pytest.fixture
def outcome(prepare):
    """The content hash of a place, or the one line that refuses it, without the place."""

    def run(place, **settings):
        try:
            return prepare(builder="folder", path=str(place), **{"image_size": 8, **settings}).content_hash
        except UserError as error:
            return str(error).replace(str(place), "PLACE")

    return run


@pytest.fixture
def places(tmp_path):
    """Write members as a folder, a tar, a compressed tar and a zip."""

    def write(members, name="set"):
        packed = [pack(tmp_path / f"{name}{suffix}", members) for suffix in (".tar", ".tar.xz", ".zip")]
        return [unpack(tmp_path / name, members), *packed]

    return write


@pytest.mark.parametrize("oddity", ACCEPTED)
def test_a_folder_a_tar_and_a_zip_are_read_alike(places, outcome, oddity):
    members, like = ACCEPTED[oddity]
    expected = outcome(places(like, "like")[0])
    assert len(expected) == 64
    assert [outcome(place) for place in places(members)] == [expected] * 4


@pytest.mark.parametrize("oddity", REFUSED)
def test_a_folder_a_tar_and_a_zip_are_refused_alike(places, outcome, oddity):
    members, words = REFUSED[oddity]
    found = [outcome(place) for place in places(members)]
    assert words in found[0] and "\n" not in found[0] and found == [found[0]] * 4, found


@pytest.mark.parametrize("name", ["/train/cat/9.png", "../train/cat/9.png", "train/../../x"])
@pytest.mark.parametrize("suffix", [".tar", ".zip"])
def test_a_member_outside_of_the_archive_is_refused(outcome, tmp_path, name, suffix):
    place = pack(tmp_path / f"a{suffix}", {**PLAIN, name: CAT})
    assert outcome(place) == f"PLACE: {name}: a member outside of the archive"


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
def test_of_two_members_with_one_name_the_later_counts(outcome, tmp_path, suffix):
    place = pack(tmp_path / f"a{suffix}", {"./train/cat/0.png": b"x", **PLAIN})
    assert outcome(place) == outcome(unpack(tmp_path / "a", PLAIN))


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
def test_a_link_to_the_outside_is_followed_in_a_folder_only(outcome, tmp_path, suffix):
    (tmp_path / "9.png").write_bytes(DOG)
    members = {**PLAIN, "train/cat/9.png": Link(tmp_path / "9.png")}
    assert outcome(unpack(tmp_path / "a", members)) == outcome(
        unpack(tmp_path / "b", {**PLAIN, "train/cat/9.png": DOG})
    )
    assert outcome(pack(tmp_path / f"a{suffix}", members)) == "PLACE: train/cat/9.png: a broken link"


def test_an_encrypted_file_is_refused_if_it_is_wanted(outcome, tmp_path):
    for name, words in (("train/cat/9.png", "train/cat/9.png: an encrypted file"), ("notes", "")):
        place = pack(tmp_path / "a.zip", PLAIN)
        with zipfile.ZipFile(place, "a") as archive:
            odd = zipfile.ZipInfo(name)
            archive.writestr(odd, CAT)
            odd.flag_bits |= 1  # says the directory that is written last
        assert words in outcome(place) and (words or len(outcome(place)) == 64)


def test_a_tar_that_ends_in_a_zip_is_a_tar(outcome, tmp_path):
    inner = pack(tmp_path / "inner.zip", {"notes": b"x"}).read_bytes()
    assert len(outcome(pack(tmp_path / "a.tar", {**PLAIN, "z.zip": inner}))) == 64


@pytest.mark.parametrize("name", ["a.tar.xz", "a.tar.gz", "a.tar", "a.zip"])
def test_a_damaged_archive_is_named(outcome, tmp_path, name):
    """Also a tar that is cut between two members, or whose header is damaged, which tarfile takes for its end."""
    place = pack(tmp_path / name, tree_members(count=6))
    whole = place.read_bytes()
    contents = [whole[: len(whole) // 2], b"\x00\x01" * 900, b"", whole[:700]]
    if name == "a.tar":
        with tarfile.open(place) as archive:
            last = archive.getmembers()[-1].offset
        contents += [whole[:last], whole[:last] + b"\x01" + whole[last + 1 :]]
    for content in contents:
        place.write_bytes(content)
        assert outcome(place).startswith("PLACE: ") and "\n" not in outcome(place)


def test_what_is_no_file_or_folder_is_never_opened(outcome, tmp_path):
    assert outcome(tmp_path / "nowhere") == "PLACE: no such file or folder"
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
    for place in (tmp_path / "pipe", tmp_path / "socket", "/dev/zero"):
        assert outcome(place) == f"PLACE: {trees.SPECIAL}"


@pytest.mark.parametrize("name", ["train/dog", "test", ""])
def test_a_folder_without_permission_is_named(outcome, tmp_path, monkeypatch, name):
    place, listed = unpack(tmp_path / "a", PLAIN), os.scandir

    def scandir(path):
        if str(path) == str(place / name):
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)  # root, who may run the tests, could read any folder
    with refused("Permission denied"):
        trees.Tree(place).scan(name)
    assert outcome(place).endswith(f"{name}: cannot be read: Permission denied")
