"""Pascal VOC (Everingham et al. 2010): pictures with masks and boxes, read through torchvision from data/raw.

The lists are those of the segmentation task, train and val, and the boxes those of the same pictures. Nothing is
downloaded: a person agrees to VOC's terms first. Every picture is squashed to a square, its mask by nearest neighbour
and its boxes by the same two factors, under which the overlap of boxes does not change.
"""

from __future__ import annotations

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
"""In the order of the values in a mask, which begin at 1."""


def build(settings: Mapping[str, Any], raw: Path) -> tuple[Annotated, Annotated]:
    """The splits train and val.

    Args:
        settings: ``year`` and ``image_size`` in pixels.
        raw: folder that holds the unpacked archive (VOCdevkit/...).

    Raises:
        UserError: the folder or a file of it is missing, or a file is damaged; nothing is downloaded.
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
            raise UserError(
                f"{folder}: {'no such folder' if not folder.exists() else error}; download {published['url']}"
                f" and unpack it in {raw.resolve()}/"
            ) from error
        if not len(listed):
            raise UserError(f"{folder}: ImageSets/Segmentation/{split}.txt names no picture")
        splits.append(_read(listed, folder / "Annotations", settings["image_size"], split))
    return splits[0], splits[1]


def _read(listed: Any, annotations: Path, size: int, split: str) -> Annotated:
    from PIL import Image

    images = torch.empty(len(listed), 3, size, size, dtype=torch.uint8)
    masks = torch.empty(len(listed), size, size, dtype=torch.uint8)
    boxes: list[list[float]] = []
    labels: list[int] = []
    owners: list[int] = []
    difficult: list[bool] = []
    with Progress(f"read VOC {split}", len(listed), "image") as progress:
        for number, path in enumerate(listed.images):
            try:
                picture, mask = listed[number]
                shape = picture.size
                picture = picture.resize((size, size), Image.Resampling.BICUBIC)
                mask = np.array(mask.resize((size, size), Image.Resampling.NEAREST))
            except (OSError, ValueError) as error:
                raise UserError(f"{path}: the picture or its mask cannot be read: {error}") from error
            if mask.ndim != 2 or not np.isin(mask, [*range(len(CLASSES) + 1), IGNORED]).all():
                raise UserError(f"{listed.masks[number]}: not a mask (allowed: 0 to {len(CLASSES)}, and {IGNORED})")
            images[number] = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
            masks[number] = torch.from_numpy(mask)
            file = annotations / f"{Path(path).stem}.xml"
            for name, box, hard in objects(file):
                scale = (size / shape[0], size / shape[1]) * 2
                boxes.append([edge * factor for edge, factor in zip(box, scale, strict=True)])
                labels.append(CLASSES.index(name))
                owners.append(number)
                difficult.append(hard)
            progress.advance()
    return Annotated(
        images,
        masks,
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(labels, dtype=torch.int64),
        torch.tensor(owners, dtype=torch.int64),
        torch.tensor(difficult, dtype=torch.bool),
    )


def objects(file: Path) -> list[tuple[str, tuple[float, float, float, float], bool]]:
    """Class, box and ``difficult`` of each object of an annotation, in its own pixels.

    VOC counts pixels from 1 and includes the last one: its box (1, 1, 2, 2) is (0, 0, 2, 2) here.

    Raises:
        UserError: the file is missing, no such XML, or names a class that VOC has not.
    """
    from xml.etree.ElementTree import ParseError, parse

    from torchvision.datasets import VOCDetection

    found = []
    try:
        for entry in VOCDetection.parse_voc_xml(parse(file).getroot())["annotation"]["object"]:
            left, top, right, bottom = (float(entry["bndbox"][edge]) for edge in ("xmin", "ymin", "xmax", "ymax"))
            if entry["name"] not in CLASSES:
                raise ValueError(f"class '{entry['name']}' (allowed: {', '.join(CLASSES)})")
            found.append((entry["name"], (left - 1, top - 1, right, bottom), entry.get("difficult") == "1"))
    except (OSError, ParseError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{file}: not an annotation of VOC: {error}") from error
    return found
