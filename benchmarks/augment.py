"""Augmentation alone: the suite's whole batches beside the per-image transforms of torchvision and of lightly.

``python -m benchmarks.augment --json FILE``. One thread for every side, 32×32 images; each view of an image counts. The
usual side starts from PIL images, as a DataLoader's workers do, and ends in a normalized tensor; the suite's starts
from one uint8 tensor. The draws and what they do to an image are the same.
"""

from collections.abc import Callable
from functools import partial

import torch
from lightly.transforms.simclr_transform import SimCLRTransform
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor
from torchvision.transforms import v2

from benchmarks import settings, timing
from structgan import augment

SIZE = 32


def pictures(n: int) -> Tensor:
    """Real digit scans, each color channel another scan, enlarged. Shape: (n, 3, 32, 32), uint8."""
    scans = torch.from_numpy(load_digits().images).float() * (255 / 16)
    chosen = torch.arange(3 * n) * 7 % len(scans)
    maps = torch.nn.functional.interpolate(scans[chosen].view(n, 3, 8, 8), size=(SIZE, SIZE), mode="bilinear")
    return maps.round().to(torch.uint8)


def lightly_transform() -> SimCLRTransform:
    """lightly's recipe of SimCLR: two views."""
    return SimCLRTransform(input_size=SIZE, cj_strength=1.0, gaussian_blur=0.5)


def usual() -> dict[str, dict[str, Callable[[Image.Image], object]]]:
    """Per-image transforms by regime and library."""
    end = [v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3)]
    crop = partial(v2.RandomResizedCrop, SIZE, interpolation=v2.InterpolationMode.BICUBIC)
    flip = v2.RandomHorizontalFlip()
    color = [v2.RandomApply([v2.ColorJitter(0.8, 0.8, 0.8, 0.2)], 0.8), v2.RandomGrayscale(0.2)]
    blur = v2.RandomApply([v2.GaussianBlur(3, (0.1, 2.0))], 0.5)
    recipe = v2.Compose([crop(scale=(0.08, 1.0)), flip, *color, blur, *end])
    return {
        "flip": {"torchvision": v2.Compose([flip, *end])},
        "crop": {"torchvision": v2.Compose([crop(scale=(0.5, 1.0)), flip, *end])},
        "simclr": {"torchvision": recipe, "lightly": lightly_transform()},
    }


def main() -> None:
    parser = timing.parser(__doc__, rounds=7)
    parser.set_defaults(device="cpu", threads=1)
    parser.add_argument("--batch", type=int, default=512, help="images of a round (default 512)")
    options = parser.parse_args()
    timing.begin(options)
    images = pictures(options.batch)
    singles = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]
    stored, drawn = images.to(options.device), torch.Generator().manual_seed(0)
    rows = []
    for regime, libraries in usual().items():
        transform = augment.build(settings.read()["augmentations"][regime], SIZE)
        sides: dict[str, Callable[[], object]] = {"suite": partial(transform, stored, drawn)}
        sides |= {name: lambda one=one: [one(image) for image in singles] for name, one in libraries.items()}  # type: ignore[misc]
        times = timing.in_turn(sides, options.rounds, device=options.device)
        for name, seconds in times.items():
            row = {"regime": regime, "side": name, **timing.figures(seconds)}
            views = 2 if name == "lightly" else 1
            row["images_per_s"] = options.batch * views / row["seconds"]
            row["side / suite"] = timing.ratio(seconds, times["suite"]) / views
            rows.append(row)
    timing.table(rows)
    timing.save(options, {"batch": options.batch, "sides": rows})


if __name__ == "__main__":
    main()
