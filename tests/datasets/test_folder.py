"""Class folders: what becomes of a picture, folders without a test split, and pictures that are in both splits."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from raw_data import pack, picture, tree_members, unpack
from refusal import refused

from structgan import datasets, files


@pytest.fixture
def read(prepare):
    def run(path, **settings):
        return prepare(builder="folder", path=str(path), **{"image_size": 8, **settings})

    return run


def encoded(array: np.ndarray, mode: str | None = None, kind: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(stream, kind, **options)
    return stream.getvalue()


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).transpose(2, 0, 1)


def test_classes_and_pictures_are_sorted_by_name(read, tmp_path):
    members = tree_members()
    built = read(pack(tmp_path / "a.tar", dict(reversed(list(members.items())))), note="mine")
    assert built.classes == ("cat", "dog") and built.note == "mine" and built.train.labels.tolist() == [0, 0, 1, 1]
    assert np.array_equal(built.train.images[2].numpy(), pixels(members["train/dog/0.png"]))
    assert not (tmp_path / "raw").exists()


@pytest.mark.parametrize("mode", ["L", "1", "LA", "P", "RGBA"])
def test_other_modes_are_converted_to_rgb(read, tmp_path, mode):
    content = picture(5, mode=mode, kind="GIF" if mode == "P" else "PNG")
    built = read(pack(tmp_path / "a.tar", {**tree_members(), "train/cat/0.png": content}))
    assert np.array_equal(built.train.images[0].numpy(), pixels(content))


RED = np.zeros((8, 8, 3), np.uint8)
RED[:4, :2, 0] = 200  # the top left corner
NOISE = np.dstack([np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8), np.full((8, 8), 255, np.uint8)])
NOISE[2:, :, 3] = 0


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_upright(read, tmp_path, orientation):
    """The eight orientations of EXIF: a camera that was held so stored the picture turned by the inverse."""
    stored = {
        1: RED, 2: RED[:, ::-1], 3: RED[::-1, ::-1], 4: RED[::-1], 5: RED.swapaxes(0, 1), 6: np.rot90(RED),
        7: np.rot90(RED, 2).swapaxes(0, 1), 8: np.rot90(RED, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(np.ascontiguousarray(stored), exif=exif)
    built = read(pack(tmp_path / "a.tar", {**tree_members(), "train/cat/0.png": content}))
    assert np.array_equal(built.train.images[0].numpy(), RED.transpose(2, 0, 1))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_white(read, tmp_path, mode):
    """Not the noise that many programs leave under it; half of it is mixed."""
    if mode == "P":
        indices = Image.fromarray(np.repeat(np.arange(8, dtype=np.uint8), 8).reshape(8, 8), "P")
        indices.putpalette(range(24))
        stream = io.BytesIO()
        indices.save(stream, "PNG", transparency=bytes([255, 255] + [0] * 6))
        content = stream.getvalue()
    else:
        content = encoded(NOISE, mode)
    built = read(pack(tmp_path / "a.tar", {**tree_members(), "train/cat/0.png": content})).train.images[0].numpy()
    assert (built[:, 2:] == 255).all() and np.array_equal(built[:, :2], pixels(content)[:, :2])
    half = np.full((8, 8, 4), [0, 100, 255, 128], np.uint8)
    built = read(pack(tmp_path / "a.tar", {**tree_members(), "train/cat/0.png": encoded(half)})).train.images[0]
    assert built[:, 0, 0].tolist() == [127, 177, 255]


def test_the_central_square_is_resized_if_asked(read, tmp_path):
    wide = np.zeros((16, 32, 3), np.uint8)
    wide[:, 8:24, 0] = 200  # the central square is red, the rest is black
    place = pack(tmp_path / "a.tar", {**tree_members(), "train/cat/0.png": encoded(wide)})
    with refused("train/cat/0.png", "resize"):
        read(place)
    built = read(place, resize=True)
    assert (built.train.images[0, 0] == 200).all() and (built.train.images[0, 1:] == 0).all()


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "unknown format"),
        (b"no picture", "unknown format"),
        (picture(0)[:100], "truncated"),
        (picture(0, (64, 64), kind="JPEG")[:900], "8×8"),
        (encoded(np.full((8, 8), 40000, np.uint16)), "I;16"),
        (picture(5, mode="CMYK", kind="TIFF"), "CMYK"),
    ],
)
def test_a_picture_that_cannot_be_used_is_named(read, tmp_path, content, named):
    with refused(str(tmp_path), "train/cat/0.png", named):
        read(pack(tmp_path / "a.tar", {**tree_members(), "train/cat/0.png": content}))
    assert not (tmp_path / "prepared/set.safetensors").exists()


FLAT = {f"{name}/{number}.png": picture(10 * number + len(name)) for name in ("ox", "cat") for number in range(10)}


def test_class_folders_without_splits_are_split_by_class_and_seed(read, tmp_path):
    place = unpack(tmp_path / "flat", FLAT)
    built = [read(place, split=0.2, seed=seed) for seed in (0, 0, 1)]
    assert built[0].content_hash == built[1].content_hash != built[2].content_hash
    for each in built:
        assert each.train.labels.tolist() == [0] * 8 + [1] * 8 and each.test.labels.tolist() == [0, 0, 1, 1]
        every = {image.numpy().tobytes() for split in (each.train, each.test) for image in split.images}
        assert every == {pixels(content).tobytes() for content in FLAT.values()}
    packed = pack(tmp_path / "a.zip", {f"photos/{name}": content for name, content in FLAT.items()})
    assert read(packed, split=0.2).content_hash == built[0].content_hash
    _, metadata = files.load_tensors(tmp_path / "prepared/set.safetensors")
    settings = json.loads(metadata["settings"])
    assert settings["split"] == 0.2 and settings["seed"] == 0
    (place / "ox/0.png").rename(place / "cat/10.png")
    for number in range(1, 9):
        (place / f"ox/{number}.png").unlink()
    with refused("class 'ox' has too few images (1) for split: 0.2"):
        read(place, split=0.2)


def test_pictures_in_both_splits_are_counted_and_told(read, tmp_path, capsys):
    members = tree_members()
    members |= {"test/cat/0.png": members["train/dog/1.png"], "test/dog/9.png": members["train/dog/1.png"]}
    place = pack(tmp_path / "a.tar", members)
    told = "2 of 5 test images are also in the train split"
    assert read(place).note == told and told in capsys.readouterr().err
    assert datasets.load(tmp_path / "prepared/set.safetensors").note == told
