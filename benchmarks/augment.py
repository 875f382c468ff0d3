"""Augmentation alone: the suite's whole batches against the per-image transforms of torchvision and of lightly.

``python -m benchmarks.augment --json FILE``. One thread for every side, 32×32 images; a view of an image counts as one.
The usual side starts from PIL images, as a DataLoader's workers do, and ends in a normalized tensor; the suite's starts
from one uint8 tensor. What is drawn and done to an image is the same, see ``tests/test_augment.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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


def usual(regime: str) -> dict[str, Callable[[Image.Image], object]]:
    """Per-image transforms of one regime by library."""
    end = [v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3)]
    flip = v2.RandomHorizontalFlip()
    bicubic = v2.InterpolationMode.BICUBIC
    if regime == "flip":
        return {"torchvision": v2.Compose([flip, *end])}
    if regime == "crop":
        return {"torchvision": v2.Compose([v2.RandomResizedCrop(SIZE, (0.5, 1.0), interpolation=bicubic), flip, *end])}
    recipe = [
        v2.RandomResizedCrop(SIZE, (0.08, 1.0), interpolation=bicubic),
        flip,
        v2.RandomApply([v2.ColorJitter(0.8, 0.8, 0.8, 0.2)], 0.8),
        v2.RandomGrayscale(0.2),
        v2.RandomApply([v2.GaussianBlur(3, (0.1, 2.0))], 0.5),
    ]
    return {
        "torchvision": v2.Compose([*recipe, *end]),
        "lightly": SimCLRTransform(input_size=SIZE, cj_strength=1.0, gaussian_blur=0.5),
    }


def main() -> None:
    parser = timing.parser(__doc__, rounds=7)
    parser.set_defaults(device="cpu")  # the others run on one core
    parser.add_argument("--batch", type=int, default=512, help="images of a round (default 512)")
    options = parser.parse_args()
    options.threads = options.threads or 1
    timing.begin(options)
    images = pictures(options.batch)
    singles = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]
    on_device = images.to(options.device)
    figures: dict[str, Any] = {"batch": options.batch, "ratio_per_core": {}, "images_per_s": {}, "rounds": {}}
    rows = []
    for regime in ("flip", "crop", "simclr"):
        transform = augment.build(settings.read()["augmentations"][regime], SIZE)
        drawn = torch.Generator().manual_seed(0)
        sides: dict[str, Callable[[], object]] = {"suite": lambda t=transform, g=drawn: t(on_device, g)}  # type: ignore[misc]
        for name, single in usual(regime).items():
            sides[name] = lambda f=single: [f(image) for image in singles]  # type: ignore[misc]
        times = timing.in_turn(sides, options.rounds, device=options.device)
        figures["rounds"][regime] = {name: time.figures() for name, time in times.items()}
        views = {name: options.batch * (2 if name == "lightly" else 1) for name in sides}
        rates = {name: views[name] / time.median for name, time in times.items()}
        ratios = {
            name: timing.ratio(time, times["suite"]) * views["suite"] / views[name]
            for name, time in times.items()
            if name != "suite"
        }
        figures["images_per_s"][regime] = rates
        figures["ratio_per_core"][regime] = ratios
        best = min(ratios.values())
        rows.append(
            [
                regime,
                *(f"{rates[k]:,.0f}" if k in rates else "-" for k in ("suite", "torchvision", "lightly")),
                f"{best:.1f}",
            ]
        )
    print("\nViews a second on one core:")
    timing.table(["regime", "suite", "torchvision", "lightly", "least ratio"], rows)
    timing.conclude(options, figures)


if __name__ == "__main__":
    main()
