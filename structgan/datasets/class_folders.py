"""Read class folders from a folder or an archive.

torchvision's ImageFolder reads no archives, and its errors do not name the damaged file.
"""

import hashlib
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from structgan import pictures, trees
from structgan.datasets.images import decode
from structgan.datasets.store import Parts, Split
from structgan.errors import UserError
from structgan.progress import Progress

Images: TypeAlias = dict[str, list[NDArray[np.uint8]]]
"""The images (3, size, size) of each class, in the order of their files' names."""


def read(
    path: Path,
    size: int,
    resize: bool,
    only: Collection[str] = (),
    imagenet: bool = False,
    split: float = 0.0,
    seed: int = 0,
) -> Parts:
    """Read ``<split>/<class>/<image>``, or ``<class>/<image>``, which is split here.

    Classes and images are sorted by name. ``pictures.find`` says which files are read, and what is refused; each of
    them must be an image. Test images that are also in the train split are counted, and the note says so.

    Args:
        path: a folder, a tar file or a zip file.
        size: height and width of the result in pixels.
        resize, imagenet: see ``decode``.
        only: the classes to read, if not all; each must exist.
        split: the share of each class that becomes the test split, at least one image; 0 if train/ and test/ exist.
        seed: of the random choice of these images.

    Raises:
        UserError: see ``pictures.find`` and ``decode``.
    """
    tree = trees.open_tree(path)
    found = pictures.find(tree, split > 0, only)
    wanted = {
        (part, name, file): node
        for part, classes in found.items()
        for name, files in classes.items()
        for file, node in files.items()
    }
    decoded = {}
    with Progress(f"read {path.name}", len(wanted), "image") as progress:
        for key, content in tree.read(wanted):
            where = f"{path}: {trees.text('/'.join(key).lstrip('/'))}"
            decoded[key] = decode(content, where, size, resize, imagenet)
            progress.advance()
    images: dict[str, Images] = {part: {name: [] for name in classes} for part, classes in found.items()}
    for part, name, file in wanted:
        images[part][name].append(decoded.pop((part, name, file)))
    train, test = divide(images[""], split, seed, path) if split else images.values()
    note = overlap(train, test)
    if note:
        print(f"structgan: {path}: {note}", file=sys.stderr)
    return Parts(tuple(train), _stack(train), _stack(test), note=note)


def read_imagenet(path: Path, size: int, names: Mapping[str, str], note: str = "") -> Parts:
    """Read classes of ImageNet, given as names by WordNet id."""
    parts = read(path, size, resize=True, only=names, imagenet=True)
    words = "; ".join(filter(None, (note, parts.note)))
    return Parts(tuple(names[wnid] for wnid in parts.classes), parts.train, parts.test, note=words)


def divide(images: Images, split: float, seed: int, path: Path) -> tuple[Images, Images]:
    """Train and test images: ``split`` of each class, rounded, but at least one, is drawn for the test split."""
    train, test = Images(), Images()
    for label, (name, own) in enumerate(images.items()):
        count = max(1, round(split * len(own)))
        if count >= len(own):
            raise UserError(f"{path}: class '{trees.text(name)}' has too few images ({len(own)}) for split: {split}")
        held_out = {*np.random.default_rng([seed, label]).permutation(len(own))[:count].tolist()}
        train[name] = [image for number, image in enumerate(own) if number not in held_out]
        test[name] = [own[number] for number in sorted(held_out)]
    return train, test


def overlap(train: Images, test: Images) -> str:
    """In words, how many test images are also in the train split, pixel by pixel; "" for none."""
    learned, held_out = (
        [hashlib.sha256(image.data).digest() for own in images.values() for image in own] for images in (train, test)
    )
    known = {*learned}
    both = sum(digest in known for digest in held_out)
    return f"{both} of {len(held_out)} test images are also in the train split" if both else ""


def _stack(images: Images) -> Split:
    labels = [label for label, own in enumerate(images.values()) for _ in own]
    return Split(torch.from_numpy(np.stack([image for own in images.values() for image in own])), torch.tensor(labels))
