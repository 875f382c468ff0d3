"""SimCLR's step with its input: the suite's beside lightly's usual recipe on the same network.

``python -m benchmarks.simclr --json FILE``. The usual side is lightly's transform, a DataLoader with as many workers as
cores, and the two views through the network one after the other in float32. The suite augments whole batches where the
images lie and runs both views at once, in float32 and in bfloat16. A round is ``--steps`` steps, input included.
"""

import copy
import os
from collections.abc import Callable, Iterator
from typing import Any

import torch
from lightly.loss import NTXentLoss
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from baselines.simclr import SimCLR
from benchmarks import settings, timing
from benchmarks.augment import SIZE, lightly_transform, pictures
from structgan import augment, precision


class Pictures(Dataset[Any]):
    """PIL images, transformed one by one."""

    def __init__(self, images: Tensor) -> None:
        self.images = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]
        self.transform = lightly_transform()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        return self.transform(self.images[index])


def usual(method: SimCLR, images: Tensor, batch: int, device: str) -> Iterator[None]:
    """lightly's loop, a step at a time: views from worker processes, each through the network alone."""
    net = nn.Sequential(copy.deepcopy(method.encoder), copy.deepcopy(method.head))
    criterion = NTXentLoss(temperature=method.settings["temperature"])
    optimizer = torch.optim.SGD(net.parameters(), lr=0.06, momentum=0.9, weight_decay=5e-4)
    workers = len(os.sched_getaffinity(0))
    loader = DataLoader(
        Pictures(images), batch, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=True
    )
    while True:
        for views in loader:
            first, second = (view.to(device) for view in views)
            torch.backends.cudnn.allow_tf32 = True  # PyTorch's default on a GPU, which the suite turns off
            loss = criterion(net(first), net(second))
            optimizer.zero_grad()
            loss.backward()
            torch.backends.cudnn.allow_tf32 = False
            optimizer.step()
            yield


def main() -> None:
    parser = timing.parser(__doc__, rounds=3)
    parser.add_argument("--batch", type=int, default=256, help="images a step (default 256)")
    parser.add_argument("--steps", type=int, default=2, help="steps a round (default 2)")
    options = parser.parse_args()
    timing.begin(options)
    images, values = pictures(8 * options.batch), settings.read()
    transform = augment.build(values["augmentations"]["simclr"], SIZE)
    torch.manual_seed(0)
    method = SimCLR(values["methods"]["simclr"]["settings"], SIZE, 10, 10_000).to(options.device).train()
    theirs = usual(method, images, options.batch, options.device)
    stored, drawn = images.to(options.device), torch.Generator().manual_seed(0)

    def side(step: Callable[[], object]) -> Callable[[], None]:
        def work() -> None:
            for _ in range(options.steps):
                step()

        return work

    def ours(name: str) -> None:
        chosen = stored[torch.randperm(len(stored), generator=drawn)[: options.batch].to(options.device)]
        with precision.autocast(name, options.device):
            method.step([transform(chosen, drawn) for _ in range(2)], None)

    sides = {"lightly": side(lambda: next(theirs))}
    sides |= {name: side(lambda name=name: ours(name)) for name in precision.NAMES}  # type: ignore[misc]
    times = timing.in_turn(sides, options.rounds, device=options.device)
    rows = []
    for name, seconds in times.items():
        row = {"side": name, **timing.figures(seconds)}
        row["images_per_s"] = options.steps * options.batch / row["seconds"]
        row["lightly / side"] = timing.ratio(times["lightly"], seconds)
        rows.append(row)
    timing.table(rows)
    found = {name: timing.longest(side, options.device, 15) for name, side in sides.items()}
    for name, operations in found.items():
        print(f"\n{name}, the longest operations of a round under the profiler:")
        timing.table(operations)
    timing.save(options, {"batch": options.batch, "sides": rows, "longest": found})


if __name__ == "__main__":
    main()
