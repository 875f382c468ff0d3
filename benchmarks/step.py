"""One step of the structural GAN: the suite's beside the reference's, and what each term of the objective costs.

``python -m benchmarks.step --json FILE``. Sides: ``benchmarks/reference_step.py`` in float32; the suite, and
``benchmarks/rival_step.py``, in float32 and in bfloat16; all from the same weights of the paper's networks. The losses
and gradients of the first step are compared, and a profile names the longest operations. The reference keeps 70 GiB or
more of 512 images, so that it and the rival step on at most 128; ratios are of times per image.
"""

import math
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

from benchmarks import settings, timing
from benchmarks.reference_step import ReferenceStep
from benchmarks.rival_step import RivalStep
from structgan import precision
from structgan.config import merge
from structgan.losses import adversarial, cluster
from structgan.method import Method
from structgan.methods.structural import Structural

FIGURES = ("ratio", "rival_ratio", "grad_cosine", "loss_difference")
SHORT = {"float32": "float32", "bfloat16": "fast"}
"""Precision to the name of its figures."""


def build(device: str, width: int = 64, image_size: int = 32, bank: int = 10240) -> Structural:
    """The paper's method, with the same weights and random numbers at every call."""
    changes = {
        "discriminator": {"width": width},
        "generator": {"channels": 8 * width, "hidden": 2 * width},
        "cluster": {"bank": bank},
    }
    torch.manual_seed(0)
    values = merge(settings.read()["methods"]["structural"]["settings"], changes)
    method = Structural(values, image_size, 10, 1000).to(device)
    method.rng = torch.Generator(device).manual_seed(1)
    return method.train()


def scans(n: int, size: int, device: str) -> Tensor:
    """Real digit scans, enlarged. Shape: (n, 3, size, size), values in [-1, 1]."""
    images = torch.from_numpy(load_digits().images[torch.arange(n) % 1797]).float()[:, None] / 8 - 1
    images = F.interpolate(images, size=(size, size), mode="bilinear", align_corners=False)
    return images.repeat(1, 3, 1, 1).to(device).contiguous(memory_format=torch.channels_last)


def stepping(method: Method, views: list[Tensor], name: str) -> Callable[[], dict[str, Tensor]]:
    """One step of a method in a precision."""

    def work() -> dict[str, Tensor]:
        with precision.autocast(name, views[0].device.type):
            return method.step(views, None)

    return work


def agreement(images: Tensor, name: str, device: str, width: int) -> dict[str, float]:
    """The first step's gradients and losses beside the reference's."""
    method = build(device, width)
    reference = ReferenceStep(method)
    losses, expected = stepping(method, [images], name)(), reference.step(images)
    apart = max(abs(float(losses[key]) - value) / max(abs(value), 1e-3) for key, value in expected.items())
    return {f"grad_cosine_{SHORT[name]}": reference.cosine(method), f"loss_difference_{SHORT[name]}": apart}


def kept_mb(function: Callable[[], object]) -> float:
    """Memory that a computation keeps for its backward, in MiB, without weights."""
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            storage = tensor.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        _held = function()  # alive until the sizes are known: a freed storage would be used twice
    return sum(sizes.values()) / 2**20


def terms(method: Structural, images: Tensor, name: str, rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds of each term alone, backward included, and memory kept for the backward in MiB."""
    net, device, candidates = method.discriminator, images.device.type, method.candidates(images)
    fake = method.generate(len(images), None)[0].detach()
    both = torch.cat([images, fake]).requires_grad_(True)
    value = net(both)[1].detach().requires_grad_(True)

    def smoothness() -> Tensor:  # with the pass that every objective needs
        embeddings, tape = net.trace(both)
        direction = method.power_iteration(both, embeddings, tape)
        total: Tensor = embeddings.sum() + net.derivative(direction, tape).norm(dim=1).sum()
        return total

    def neighbors() -> Tensor:
        of_fake = candidates.of_fake(method.average_features(fake))
        z_real, z_fake = F.normalize(value, dim=1).chunk(2)
        pool = torch.cat([z_real, method.bank.embeddings])
        return cluster.similarity(z_fake, pool, of_fake) - cluster.similarity(z_real, pool, candidates.of_real())

    parts: dict[str, Callable[[], Any]] = {
        "discriminator": lambda: net(both.detach())[1].sum(),
        "smoothness": smoothness,
        "gaussian": lambda: method.distance(*F.normalize(value, dim=1).chunk(2)),
        "cluster": neighbors,
        "hinge": lambda: adversarial.norm_hinge(value[: len(images)]),
        "generator": lambda: method.update_generator(images, *method.generate(len(images), candidates)),
    }

    def work(part: Callable[[], Any]) -> None:
        with precision.autocast(name, device):
            loss = part()
        if isinstance(loss, Tensor):  # the generator's update has its own backward
            loss.backward()  # type: ignore[no-untyped-call]

    times = timing.in_turn({key: partial(work, part) for key, part in parts.items()}, rounds, device=device)
    found = {}
    for key, part in parts.items():
        with precision.autocast(name, device):
            found[key] = {"ms": 1e3 * statistics.median(times[key]), "kept_mb": kept_mb(part)}
    for figure in ("ms", "kept_mb"):
        found["smoothness"][figure] -= found["discriminator"][figure]
    return found


def main() -> None:
    parser = timing.parser(__doc__, rounds=5)
    parser.add_argument("--batch", type=int, help="real images a step (default: 64 on a CPU, 512 on a GPU)")
    parser.add_argument("--width", type=int, default=64, help="channels of the first stage (default: the paper's 64)")
    parser.add_argument("--precision", nargs="+", choices=list(SHORT), default=list(SHORT), help="the suite's sides")
    parser.add_argument("--compile", action="store_true", help="compile the rival, which takes minutes")
    options = parser.parse_args()
    timing.begin(options)
    device, width = options.device, options.width
    batch = options.batch or (512 if device.startswith("cuda") else 64)
    few, images = min(batch, 128), scans(batch, 32, device)
    found: dict[str, Any] = {"batch": batch, "reference_batch": few, "width": width}
    found |= {"failed": {}, "steps": {}, "terms": {}}
    methods = {name: build(device, width) for name in options.precision}
    reference = ReferenceStep(build(device, width))
    sides: dict[str, Callable[[], object]] = {"reference": lambda: reference.step(images[:few])}
    for name in methods:
        sides[f"rival {name}"] = partial(RivalStep(build(device, width), name, options.compile).step, images[:few])
    sides |= {name: stepping(method, [images], name) for name, method in methods.items()}

    def attempt(what: str, work: Callable[[], dict[str, Any]]) -> None:
        """Add figures to those found, or why there are none; both are on the disk at once."""
        try:
            found.update(merge(found, work()))
        except (RuntimeError, MemoryError) as error:  # such as a side that needs more memory than there is
            found["failed"][what] = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:300]}"
            print(f"{what} failed: {found['failed'][what]}")
        timing.save(options, found)

    def parts(name: str) -> dict[str, Callable[[], dict[str, Any]]]:
        return {
            "first step": lambda: agreement(images[:few], name, device, width),
            "operations": lambda: {"steps": {name: timing.work_of(sides[name], device)}},
            "profile": lambda: {"longest": {name: timing.longest(sides[name], device, 15)}},
            "terms": lambda: {"terms": {name: terms(methods[name], images, name, options.rounds)}},
        }

    for name, side in sides.items():
        attempt(name, lambda name=name, side=side: {"steps": {name: {"seconds": timing.timed(side, device)}}})  # type: ignore[misc]
    times = timing.in_turn({name: sides[name] for name in found["steps"]}, options.rounds, device=device)
    for name, seconds in times.items():
        size = batch if name in methods else few
        figures = timing.figures(seconds)
        found["steps"][name] = {**figures, "batch": size, "images_per_s": size / figures["seconds"]}
        for figure, other in (("ratio", "reference"), ("rival_ratio", f"rival {name}")):
            if name in methods and other in times:
                found[f"{figure}_{SHORT[name]}"] = timing.ratio(times[other], seconds) * batch / few
    for name in [name for name in methods if name in times]:
        for what, work in parts(name).items():
            attempt(f"{what} in {name}", work)
    timing.table([{"side": name, **step} for name, step in found["steps"].items()])
    for name, costs in found["terms"].items():
        about = [f"{key}: {found.get(f'{key}_{SHORT[name]}', math.nan):.4g}" for key in FIGURES]
        print(f"\n{name}, {', '.join(about)}; its terms, backward included:")
        timing.table([{"term": key, **cost} for key, cost in costs.items()])
    for name, operations in found.get("longest", {}).items():
        print(f"\n{name}, the longest operations of a step under the profiler:")
        timing.table(operations)
    timing.save(options, found)


if __name__ == "__main__":
    main()
