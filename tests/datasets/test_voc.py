"""Pascal VOC: a small tree in its format is read; what is missing or damaged is named."""

import numpy as np
import pytest
import torch
from PIL import Image
from published_archives import VOC_OBJECT
from published_archives import voc as write_voc
from refusal import refused

from structgan.datasets import voc
from structgan.datasets.annotated import IGNORED
from structgan.evaluation import dense

SETTINGS = {"year": "2012", "image_size": 32}
UNKNOWN = VOC_OBJECT.format(name="ct", box=(1, 1, 2, 2), hard=0)


@pytest.fixture
def folder(tmp_path):
    return write_voc(tmp_path)


def test_a_tree_in_vocs_format_is_read(folder, tmp_path):
    train, val = voc.build(SETTINGS, tmp_path)
    assert train.images.shape == (2, 3, 32, 32) and train.masks.shape == (2, 32, 32) and len(val) == 2
    # 80 × 40 pixels become 32 × 32: factors 0.4 and 0.8
    torch.testing.assert_close(train.boxes, torch.tensor([[0.0, 0, 16, 16], [8, 8, 24, 24], [28, 24, 32, 32]]))
    assert [voc.CLASSES[label] for label in train.labels] == ["cat", "person", "dog"]
    assert train.owners.tolist() == [0, 1, 1] and train.difficult.tolist() == [False, False, True]
    cat = voc.CLASSES.index("cat") + 1
    assert set(train.masks[0].unique().tolist()) == {0, cat, IGNORED}
    assert int(train.masks[0, 5, 8]) == cat and int(train.masks[0, 20, 20]) == 0
    assert val.owners.tolist() == [1, 1] and val.of(0)[0].shape == (0, 4)
    assert (train.images[0, :, 20, 20].float() - 90).abs().max() < 12


def test_heads_are_fitted_and_scored_on_it(folder, tmp_path):
    """An image without an object, a difficult object and ignored pixels go through both tasks."""
    settings = {
        "segmentation": {"places": 400, "C": 1.0, "max_iter": 100, "tol": 1e-2},
        "detection": {"places": 400, "C": 1.0, "max_iter": 100, "tol": 1e-2, "stride": 4, "middle": 0.5, "ridge": 1.0,
                      "score": 0.05, "nms": 0.5, "detections": 100},
    }  # fmt: skip
    built = voc.build(SETTINGS, tmp_path)
    metrics, told = dense.evaluate(lambda batch: [batch, batch.square()], built, voc.CLASSES, settings, 0)
    assert 0 < metrics["miou"] <= 1 and 0 <= metrics["map"] <= metrics["map50"] <= 1
    assert told["boxes_train"] == 3 and told["n_test"] == 2 and told["classes"] == 20


def test_without_voc_the_folder_and_the_archive_are_named(tmp_path):
    with refused("VOCdevkit/VOC2012", "VOCtrainval_11-May-2012.tar", str(tmp_path)):
        voc.build(SETTINGS, tmp_path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Annotations/2007_1.xml", None),
        ("Annotations/2007_1.xml", "<annotation>"),
        ("Annotations/2007_1.xml", "<annotation><object><name>cat</name></object></annotation>"),
        ("Annotations/2007_1.xml", f"<annotation>{UNKNOWN}</annotation>"),
        ("JPEGImages/2007_1.jpg", "no picture"),
        ("ImageSets/Segmentation/val.txt", ""),
    ],
)
def test_a_missing_or_damaged_file_is_named(folder, tmp_path, name, text):
    (folder / name).unlink()
    if text is not None:
        (folder / name).write_text(text)
    with refused(name.split("/")[-1]):
        voc.build(SETTINGS, tmp_path)


def test_a_mask_of_other_values_is_named(folder, tmp_path):
    Image.fromarray(np.full((40, 80), 77, np.uint8)).save(folder / "SegmentationClass/2007_1.png")
    with refused("2007_1.png"):
        voc.build(SETTINGS, tmp_path)
