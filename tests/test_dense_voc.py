"""Pascal VOC: a small real tree in its format is read through torchvision; what is missing or damaged is one line."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from refusal import refused

from structgan.datasets import voc
from structgan.datasets.annotated import IGNORED
from structgan.evaluation import dense

SETTINGS = {"year": "2012", "image_size": 32}
OBJECT = """<object><name>{name}</name><pose>Left</pose><difficult>{hard}</difficult>
<bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox>
<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part></object>"""


def picture(folder, name, objects):
    """A picture of 80 × 40 pixels with rectangles: VOC's box (1-based, last pixel included), class and difficult."""
    image, mask = np.full((40, 80, 3), 90, np.uint8), np.zeros((40, 80), np.uint8)
    for kind, (left, top, right, bottom), _ in objects:
        value = voc.CLASSES.index(kind) + 1
        image[top - 1 : bottom, left - 1 : right] = (10 * value, 255 - 10 * value, 128)
        mask[top - 1 : bottom, left - 1 : right] = value
        mask[top - 1 : bottom, left - 1 : left + 2] = IGNORED
    Image.fromarray(image).save(folder / "JPEGImages" / f"{name}.jpg", quality=95)
    paletted = Image.fromarray(mask, mode="P")
    paletted.putpalette([(37 * value) % 256 for value in range(768)])
    paletted.save(folder / "SegmentationClass" / f"{name}.png")
    listed = "".join(OBJECT.format(name=kind, box=box, hard=int(hard)) for kind, box, hard in objects)
    (folder / "Annotations" / f"{name}.xml").write_text(f"<annotation><folder>VOC2012</folder>{listed}</annotation>")


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "VOCdevkit/VOC2012"
    for name in ("JPEGImages", "SegmentationClass", "Annotations", "ImageSets/Segmentation"):
        (folder / name).mkdir(parents=True)
    picture(folder, "2007_1", [("cat", (1, 1, 40, 20), False)])
    picture(folder, "2007_2", [("person", (21, 11, 60, 30), False), ("dog", (71, 31, 80, 40), True)])
    picture(folder, "2007_3", [])
    (folder / "ImageSets/Segmentation/train.txt").write_text("2007_1\n2007_2\n")
    (folder / "ImageSets/Segmentation/val.txt").write_text("2007_3\n2007_2\n")
    return tmp_path


def test_a_tree_in_vocs_format_is_read(raw):
    train, val = voc.build(SETTINGS, raw)
    assert train.images.shape == (2, 3, 32, 32) and train.masks.shape == (2, 32, 32) and len(val) == 2
    # 80 × 40 squashed to 32 × 32: factors 0.4 and 0.8, after pixels that are counted from 0
    torch.testing.assert_close(train.boxes, torch.tensor([[0.0, 0, 16, 16], [8, 8, 24, 24], [28, 24, 32, 32]]))
    assert [voc.CLASSES[label] for label in train.labels] == ["cat", "person", "dog"]
    assert train.owners.tolist() == [0, 1, 1] and train.difficult.tolist() == [False, False, True]
    assert set(train.masks[0].unique().tolist()) == {0, voc.CLASSES.index("cat") + 1, IGNORED}
    assert int(train.masks[0, 5, 8]) == voc.CLASSES.index("cat") + 1 and int(train.masks[0, 20, 20]) == 0
    assert val.owners.tolist() == [1, 1] and val.of(0)[0].shape == (0, 4)
    assert (train.images[0, :, 20, 20].float() - 90).abs().max() < 12


def test_heads_are_fitted_and_scored_on_it(raw):
    """A picture without an object, a difficult one and ignored pixels go through both tasks."""
    settings = {
        "segmentation": {"places": 400, "C": 1.0, "max_iter": 100, "tol": 1e-2},
        "detection": {"places": 400, "C": 1.0, "max_iter": 100, "tol": 1e-2, "stride": 4, "middle": 0.5, "ridge": 1.0,
                      "score": 0.05, "nms": 0.5, "detections": 100},
    }  # fmt: skip
    metrics, told = dense.evaluate(
        lambda batch: [batch, batch.square()], voc.build(SETTINGS, raw), voc.CLASSES, settings, 0
    )
    assert 0 < metrics["miou"] <= 1 and 0 <= metrics["map"] <= metrics["map50"] <= 1
    assert told["boxes_train"] == 3 and told["n_test"] == 2 and told["classes"] == 20


def test_without_voc_the_folder_and_the_archive_are_named(tmp_path):
    with refused("VOCdevkit/VOC2012: no such folder", "VOCtrainval_11-May-2012.tar", f"unpack it in {tmp_path}"):
        voc.build(SETTINGS, tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("Annotations/2007_1.xml", "<annotation>", ["2007_1.xml", "not an annotation"]),
        ("Annotations/2007_1.xml", "<annotation><object><name>cat</name></object></annotation>", ["bndbox"]),
        ("Annotations/2007_2.xml", OBJECT.format(name="ct", box=(1, 1, 2, 2), hard=0), ["2007_2.xml"]),
        ("JPEGImages/2007_1.jpg", "no picture", ["2007_1.jpg", "cannot be read"]),
        ("ImageSets/Segmentation/val.txt", "", ["val.txt", "no picture"]),
    ],
)
def test_a_damaged_file_is_named(raw, name, text, words):
    (raw / "VOCdevkit/VOC2012" / name).write_text(text)
    with refused(*words):
        voc.build(SETTINGS, raw)


def test_a_missing_file_an_unknown_class_and_a_mask_of_other_values_are_named(raw):
    folder = raw / "VOCdevkit/VOC2012"
    unknown = OBJECT.format(name="ct", box=(1, 1, 2, 2), hard=0)
    (folder / "Annotations/2007_1.xml").write_text(f"<annotation>{unknown}</annotation>")
    with refused("2007_1.xml", "'ct'", "aeroplane"):
        voc.build(SETTINGS, raw)
    (folder / "Annotations/2007_1.xml").unlink()
    with refused("2007_1.xml"):
        voc.build(SETTINGS, raw)
    Image.fromarray(np.full((40, 80), 77, np.uint8)).save(folder / "SegmentationClass/2007_1.png")
    with refused("2007_1.png", "not a mask", "0 to 20"):
        voc.build(SETTINGS, raw)
