"""SimCLR's step with its input: the suite's against lightly's usual recipe on the same network.

``python -m benchmarks.simclr --json FILE``. The usual side is lightly's transform, a DataLoader with as many workers as
cores, the two views through the network one after the other, float32. The suite augments whole batches where the images
lie and runs both views at once, in float32 and in bfloat16. Each round is ``--steps`` steps, input included.
"""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Callable, Iterator
from typing import Any

import torch
from lightly.loss import NTXentLoss
from lightly.transforms.simclr_transform import SimCLRTransform
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from baselines.simclr import SimCLR
from benchmarks import settings as paper
from benchmarks import timing
from benchmarks.augment import SIZE, pictures
from structgan import augment, config, precision


def with_tf32() -> contextlib.AbstractContextManager[None]:
    """PyTorch's default on a GPU, which the suite turns off; ``flags`` would turn off cuDNN by default."""
    now = torch.backends.cudnn
    context: contextlib.AbstractContextManager[None] = now.flags(
        enabled=now.enabled, benchmark=now.benchmark, deterministic=now.deterministic, allow_tf32=True
    )
    return context


class Pictures(Dataset[Any]):
    """PIL images, transformed one by one."""

    def __init__(self, images: Tensor) -> None:
        self.images = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]
        self.transform = SimCLRTransform(input_size=SIZE, cj_strength=1.0, gaussian_blur=0.5)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        return self.transform(self.images[index])


class Usual:
    """lightly's loop: views from worker processes, each through the network alone."""

    def __init__(self, method: SimCLR, images: Tensor, batch: int, device: str) -> None:
        self.net = nn.Sequential(copy.deepcopy(method.encoder), copy.deepcopy(method.head)).to(device)
        self.criterion = NTXentLoss(temperature=method.settings["temperature"])
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.06, momentum=0.9, weight_decay=5e-4)
        workers = len(os.sched_getaffinity(0))
        self.loader = DataLoader(
            Pictures(images), batch, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=True
        )
        self.device, self.batches = device, self.forever()

    def forever(self) -> Iterator[list[Tensor]]:
        """Batches of two views, epoch after epoch."""
        while True:
            yield from self.loader

    def step(self) -> None:
        first, second = (view.to(self.device) for view in next(self.batches))
        with with_tf32():
            loss = self.criterion(self.net(first), self.net(second))
            self.optimizer.zero_grad()
            loss.backward()
        self.optimizer.step()


def main() -> None:
    parser = timing.parser(__doc__, rounds=3)
    parser.add_argument("--batch", type=int, default=256, help="images a step (default 256)")
    parser.add_argument("--steps", type=int, default=2, help="steps a round (default 2)")
    parser.add_argument("--width", type=int, default=64, help="channels of the encoder's first stage (default 64)")
    options = parser.parse_args()
    timing.begin(options)
    values = paper.read()
    settings = config.merge(values["methods"]["simclr"]["settings"], {"encoder": {"width": options.width}})
    images = pictures(8 * options.batch)
    transform = augment.build(values["augmentations"]["simclr"], SIZE)
    torch.manual_seed(0)
    method = SimCLR(settings, SIZE, 10, 10_000).to(options.device).train()
    usual = Usual(method, images, options.batch, options.device)
    stored, drawn = images.to(options.device), torch.Generator().manual_seed(0)

    def ours(name: str) -> Callable[[], None]:
        def work() -> None:
            for _ in range(options.steps):
                chosen = stored[torch.randperm(len(stored), generator=drawn)[: options.batch].to(options.device)]
                views = [transform(chosen, drawn) for _ in range(2)]
                with precision.autocast(name, options.device):
                    method.step(views, None)

        return work

    def theirs() -> None:
        for _ in range(options.steps):
            usual.step()

    sides = {"lightly": theirs} | {name: ours(name) for name in precision.NAMES}
    times = timing.in_turn(sides, options.rounds, device=options.device)
    ratios = {name: timing.ratio(times["lightly"], times[name]) for name in precision.NAMES}
    figures = {"batch": options.batch, "ratio": ratios["bfloat16"], "ratio_float32": ratios["float32"]}
    rates = {name: options.steps * options.batch / time.median for name, time in times.items()}
    rows = [[name, f"{rate:.1f}", f"{ratios[name]:.2f}" if name in ratios else "-"] for name, rate in rates.items()]
    print(f"\nSimCLR, batch {options.batch}, width {options.width}, input included:")
    timing.table(["side", "images/s", "lightly / this"], rows)
    timing.conclude(options, figures | {"images_per_s": rates, "rounds": {k: v.figures() for k, v in times.items()}})


if __name__ == "__main__":
    main()
