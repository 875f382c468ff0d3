"""Tiny archives and trees in the formats that the publishers of CIFAR, STL-10, ImageNet and Pascal VOC use."""

from pathlib import Path

import numpy as np
from PIL import Image
from raw_data import pack, picture

VOC_OBJECT = """<object><name>{name}</name><pose>Left</pose><difficult>{hard}</difficult>
<bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox>
<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part></object>"""


def cifar(raw: Path, kind: str, label: int | None = None) -> tuple[Path, np.ndarray]:
    """20 training images (CIFAR-10: in two files) and 10 test images; returns the archive and all pixels."""
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


def stl(raw: Path, **change: bytes) -> tuple[Path, np.ndarray]:
    """10 training, 10 test and 4 unlabelled images; a file is replaced with ``name_bin=content``, removed with b""."""
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
    members |= {name.replace("_bin", ".bin"): content for name, content in change.items()}
    return pack(raw / "stl10_binary.tar.gz", {f"stl10_binary/{k}": v for k, v in members.items() if v}), images


def imagenet(wnids, kind: str = "JPEG") -> dict[str, bytes]:
    """Two pictures of 40×30 pixels for each class of each split."""
    names = [f"{split}/{wnid}/{wnid}_{i}.JPEG" for split in ("train", "val") for wnid in wnids for i in range(2)]
    return {name: picture(int(name[-6]), (40, 30), kind=kind) for name in names}


def voc(raw: Path) -> Path:
    """Three annotated pictures of 80×40 pixels, two in each split; returns the folder VOC2012."""
    folder = raw / "VOCdevkit/VOC2012"
    for name in ("JPEGImages", "SegmentationClass", "Annotations", "ImageSets/Segmentation"):
        (folder / name).mkdir(parents=True)
    _voc_picture(folder, "2007_1", [("cat", 8, (1, 1, 40, 20), False)])
    _voc_picture(folder, "2007_2", [("person", 15, (21, 11, 60, 30), False), ("dog", 12, (71, 31, 80, 40), True)])
    _voc_picture(folder, "2007_3", [])
    (folder / "ImageSets/Segmentation/train.txt").write_text("2007_1\n2007_2\n")
    (folder / "ImageSets/Segmentation/val.txt").write_text("2007_3\n2007_2\n")
    return folder


def _voc_picture(folder: Path, name: str, objects) -> None:
    """Rectangles: class, its value in the mask, VOC's box (counted from 1, last pixel included), difficult."""
    image, mask = np.full((40, 80, 3), 90, np.uint8), np.zeros((40, 80), np.uint8)
    for _, value, (left, top, right, bottom), _ in objects:
        image[top - 1 : bottom, left - 1 : right] = (10 * value, 255 - 10 * value, 128)
        mask[top - 1 : bottom, left - 1 : right] = value
        mask[top - 1 : bottom, left - 1 : left + 2] = 255
    Image.fromarray(image).save(folder / "JPEGImages" / f"{name}.jpg", "PNG")  # found by content; PNG loses nothing
    paletted = Image.fromarray(mask, mode="P")
    paletted.putpalette([(37 * value) % 256 for value in range(768)])
    paletted.save(folder / "SegmentationClass" / f"{name}.png")
    listed = "".join(VOC_OBJECT.format(name=kind, box=box, hard=int(hard)) for kind, _, box, hard in objects)
    (folder / "Annotations" / f"{name}.xml").write_text(f"<annotation><folder>VOC2012</folder>{listed}</annotation>")
