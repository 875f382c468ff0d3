"""Pascal VOC (Everingham et al. 2010): images with masks and boxes, read by torchvision from data/raw.

The splits are train and val of the segmentation task. Nothing is downloaded, as VOC's terms must be accepted first.
Images, masks and boxes are stretched to a square, which leaves the IoU of boxes as it is.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from structgan.datasets.annotated import IGNORED, Annotated
from structgan.errors import UserError
from structgan.progress import Progress

CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
"""In the order of the mask values, which begin at 1."""


def build(settings: Mapping[str, Any], raw: Path) -> tuple[Annotated, Annotated]:
    """The splits train and val.

    Args:
        settings: ``year`` and ``image_size`` in pixels.
        raw: the folder that contains VOCdevkit/.

    Raises:
        UserError: a file is missing or damaged.
    """
    from torchvision.datasets import VOCSegmentation
    from torchvision.datasets.voc import DATASET_YEAR_DICT

    published = DATASET_YEAR_DICT[settings["year"]]
    folder = raw / published["base_dir"]
    splits = []
    for split in ("train", "val"):
        try:
            listed = VOCSegmentation(str(raw), year=settings["year"], image_set=split, download=False)
        except (RuntimeError, OSError) as error:
            reason = error if folder.exists() else "no such folder"
            remedy = f"download {published['url']} and unpack it in {raw.resolve()}/"
            raise UserError(f"{folder}: {reason}; {remedy}") from error
        if not len(listed):
            raise UserError(f"{folder}: ImageSets/Segmentation/{split}.txt lists no image")
        splits.append(_read(listed, folder / "Annotations", settings["image_size"], split))
    return splits[0], splits[1]


def _read(listed: Any, annotations: Path, size: int, split: str) -> Annotated:
    from PIL.Image import Resampling

    images, masks, found = [], [], []
    with Progress(f"read VOC {split}", len(listed), "image") as progress:
        for number, path in enumerate(listed.images):
            try:
                image, mask = listed[number]
                width, height = image.size
                images.append(np.array(image.resize((size, size), Resampling.BICUBIC)).transpose(2, 0, 1))
                masks.append(np.array(mask.resize((size, size), Resampling.NEAREST)))
            except (OSError, ValueError) as error:
                raise UserError(f"{path}: the image or its mask is damaged: {error}") from error
            if masks[-1].ndim != 2 or not np.isin(masks[-1], [*range(len(CLASSES) + 1), IGNORED]).all():
                raise UserError(f"{listed.masks[number]}: not a mask (allowed: 0 to {len(CLASSES)}, and {IGNORED})")
            scale = (size / width, size / height) * 2
            for label, box, difficult in objects(annotations / f"{Path(path).stem}.xml"):
                found.append(
                    ([edge * factor for edge, factor in zip(box, scale, strict=True)], label, number, difficult)
                )
            progress.advance()
    boxes, labels, owners, hard = zip(*found, strict=True) if found else ((), (), (), ())
    return Annotated(
        images=torch.from_numpy(np.stack(images)),
        masks=torch.from_numpy(np.stack(masks)),
        boxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.tensor(labels, dtype=torch.int64),
        owners=torch.tensor(owners, dtype=torch.int64),
        difficult=torch.tensor(hard, dtype=torch.bool),
    )


def objects(file: Path) -> list[tuple[int, tuple[float, float, float, float], bool]]:
    """Class, box in pixels and ``difficult`` of each object in an annotation.

    VOC counts pixels from 1 and includes the last one: its box (1, 1, 2, 2) is (0, 0, 2, 2) here.

    Raises:
        UserError: the file is missing or damaged.
    """
    from xml.etree.ElementTree import ParseError, parse

    from torchvision.datasets import VOCDetection

    found = []
    try:
        for entry in VOCDetection.parse_voc_xml(parse(file).getroot())["annotation"]["object"]:
            left, top, right, bottom = (float(entry["bndbox"][edge]) for edge in ("xmin", "ymin", "xmax", "ymax"))
            label = CLASSES.index(entry["name"])
            found.append((label, (left - 1, top - 1, right, bottom), entry.get("difficult") == "1"))
    except (OSError, ParseError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{file}: not an annotation of VOC: {error}") from error
    return found
