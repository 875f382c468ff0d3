"""One step of the structural GAN: the suite's against the reference's, and what each term of the objective costs.

``python -m benchmarks.step --json FILE``. The paper's networks, batch 64 on a CPU and 512 on a GPU; ``--width`` and
others show how cost grows. Sides: the reference form in float32 (``benchmarks/reference_step.py``), the suite's in
float32 and its bfloat16. All start from the same weights; the first step's losses and gradients are compared on one
batch.

The reference step takes at most 128 images, since it keeps 70 GiB or more of 512; ratios are of times per image. A side
that fails is recorded in the JSON, which is written again after each part.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

from benchmarks import settings as paper
from benchmarks import timing
from benchmarks.reference_step import ReferenceStep
from structgan import config, precision
from structgan.losses import adversarial, cluster
from structgan.method import Method
from structgan.methods.structural import Structural

PEAK_TFLOPS = 790.0
"""Dense bfloat16 rate of an H100 or H200 that shares are relative to."""
SHORT = {"float32": "float32", "bfloat16": "fast"}
"""Precision to the name of its figures."""


def settings(options: argparse.Namespace) -> dict[str, Any]:
    """The paper's settings of the method, with the sizes that were asked for."""
    known = paper.read()["methods"]["structural"]["settings"]
    changes: dict[str, Any] = {}
    if options.width:
        changes["discriminator"] = {"width": options.width}
        changes["generator"] = {"channels": 8 * options.width, "hidden": 2 * options.width}
    if options.bank is not None:
        changes["cluster"] = {"bank": options.bank}
    return config.merge(known, changes)


def scans(n: int, size: int, device: str) -> Tensor:
    """Real digit scans, enlarged. Shape: (n, 3, size, size), values in [-1, 1]."""
    images = torch.from_numpy(load_digits().images[:n]).float()[:, None] / 8 - 1
    images = F.interpolate(images, size=(size, size), mode="bilinear", align_corners=False)
    images = images.repeat(-(-n // len(images)), 3, 1, 1)[:n].to(device)
    return images.contiguous(memory_format=torch.channels_last)


def build(values: dict[str, Any], options: argparse.Namespace) -> Structural:
    """The method with the same weights and random numbers at every call."""
    torch.manual_seed(0)
    method = Structural(values, options.image_size, 10, 1000).to(options.device)
    method.rng = torch.Generator(options.device).manual_seed(1)
    return method.train()


def cosine(mine: Iterable[Tensor | None], theirs: Iterable[Tensor | None]) -> float:
    """Cosine of two gradients, each a list of tensors."""
    a, b = (torch.cat([g.flatten().double() for g in grads if g is not None]) for grads in (mine, theirs))
    return float(F.cosine_similarity(a, b, dim=0))


def gradients(method: Structural) -> dict[str, list[Tensor | None]]:
    """Of the last step, by network."""
    return {
        "discriminator": [p.grad for p in method.discriminator.parameters()],
        "generator": [p.grad for p in method.generator.parameters()],
    }


def agreement(mine: Structural, reference: ReferenceStep, images: Tensor, name: str) -> dict[str, float]:
    """One step of each: cosine of their gradients, the lower one of both networks, and how far apart the losses are."""
    expected = reference.step(images)
    with precision.autocast(name, images.device.type):
        losses = mine.step([images], None)
    theirs = reference.gradients(mine)
    cosines = [cosine(grads, theirs[network]) for network, grads in gradients(mine).items()]
    apart = [abs(float(losses[key]) - value) / max(abs(value), 1e-3) for key, value in expected.items()]
    return {"cosine": min(cosines), "loss_difference": max(apart)}


def kept_mb(function: Callable[[], object]) -> float:
    """Memory that a computation keeps for its backward, in MiB: each storage once, weights left out."""
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            storage = tensor.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        held = function()  # until the sizes are read, or storages would be used twice
    total = sum(sizes.values()) / 2**20
    del held
    return total


class Terms:
    """The parts of one step, each to be timed alone, on a method that has stepped before."""

    def __init__(self, method: Structural, images: Tensor) -> None:
        self.method, self.real = method, images
        self.candidates = method.candidates(images)
        self.fake = method.generate(len(images), None)[0].detach()
        self.both = torch.cat([images, self.fake]).requires_grad_(True)
        with torch.no_grad():
            value = method.discriminator(self.both)[1]
        self.value = value.requires_grad_(True)

    def discriminator(self) -> Tensor:
        """Both batches forward: what every objective needs."""
        embeddings: Tensor = self.method.discriminator(self.both.detach())[1]
        return embeddings.sum()

    def smoothness(self) -> Tensor:
        """As ``discriminator``, with the Jacobian term on top."""
        value, tape = self.method.discriminator.trace(self.both)
        direction = self.method.power_iteration(self.both, value, tape)
        loss: Tensor = value.sum() + self.method.discriminator.derivative(direction, tape).norm(dim=1).sum()
        return loss

    def gaussian(self) -> Tensor:
        real, fake = F.normalize(self.value, dim=1).chunk(2)
        return self.method.distance(real, fake)

    def cluster(self) -> Tensor:
        """EMA features of both batches, neighbors, similarities."""
        found = self.method.candidates(self.real)
        of_fake = found.of_fake(self.method.average_features(self.fake))
        real, fake = F.normalize(self.value, dim=1).chunk(2)
        pool = torch.cat([real, self.method.bank.embeddings])
        return cluster.similarity(fake, pool, of_fake) - cluster.similarity(real, pool, found.of_real())

    def hinge(self) -> Tensor:
        return adversarial.norm_hinge(self.value[: len(self.real)])

    def generator(self) -> None:
        """Images of new latents and their neighbors, the discriminator's opinion of them, the generator's update."""
        self.method.update_generator(self.real, *self.method.generate(len(self.real), self.candidates))

    def measured(self, name: str, rounds: int) -> dict[str, dict[str, float]]:
        """Milliseconds, backward included, and memory kept for the backward in MiB, of each term."""
        device = self.real.device.type
        parts: dict[str, Callable[[], Any]] = {
            key: getattr(self, key) for key in ("discriminator", "smoothness", "gaussian", "cluster", "hinge")
        }

        def there_and_back(part: Callable[[], Tensor]) -> Callable[[], None]:
            def work() -> None:
                with precision.autocast(name, device):
                    loss = part()
                loss.backward()  # type: ignore[no-untyped-call]

            return work

        def drawn() -> None:
            with precision.autocast(name, device):
                self.generator()

        sides = {key: there_and_back(part) for key, part in parts.items()} | {"generator": drawn}
        times = timing.in_turn(sides, rounds, device=device)
        with precision.autocast(name, device):
            kept = {key: kept_mb(part) for key, part in {**parts, "generator": self.generator}.items()}
        found = {key: {"ms": 1e3 * times[key].median, "kept_mb": kept[key]} for key in sides}
        for key in ("ms", "kept_mb"):  # the term is what it adds to the pass that all need
            found["smoothness"][key] -= found["discriminator"][key]
        return found


def stepping(method: Method, views: list[Tensor], name: str) -> Callable[[], object]:
    """One step of a method in a precision."""

    def work() -> None:
        with precision.autocast(name, views[0].device.type):
            method.step(views, None)

    return work


def main() -> None:
    parser = timing.parser(__doc__, rounds=5)
    parser.add_argument("--batch", type=int, help="real images a step (default 64 on a CPU, 512 on a GPU)")
    parser.add_argument(
        "--reference-batch", type=int, help="the reference's, whose step keeps far more (default: at most 128)"
    )
    parser.add_argument("--image-size", type=int, default=32, help="pixels (default 32)")
    parser.add_argument("--width", type=int, help="channels of the first stage (default: the paper's 64)")
    parser.add_argument("--bank", type=int, help="entries of the memory bank (default: the paper's 10,240)")
    parser.add_argument(
        "--precision", nargs="+", choices=list(SHORT), default=list(SHORT), help="the suite's sides (default: both)"
    )
    options = parser.parse_args()
    timing.begin(options)
    batch = options.batch or (512 if options.device.startswith("cuda") else 64)
    few = min(batch, options.reference_batch or 128)
    values, images = settings(options), scans(batch, options.image_size, options.device)
    figures: dict[str, Any] = {"batch": batch, "reference_batch": few, "image_size": options.image_size}
    figures |= {"width": values["discriminator"]["width"], "bank": values["cluster"]["bank"]}
    try:
        build(values, options)
    except ValueError as error:
        parser.error(str(error))
    sizes = {"reference": few, **dict.fromkeys(options.precision, batch)}
    sides: dict[str, Callable[[], object]] = {}
    methods: dict[str, Structural] = {}
    for name in options.precision:
        short = SHORT[name]
        with timing.attempt(options, figures, f"agreement of {name}"):
            found = agreement(build(values, options), ReferenceStep(build(values, options)), images[:few], name)
            figures |= {f"grad_cosine_{short}": found["cosine"], f"loss_difference_{short}": found["loss_difference"]}
    with timing.attempt(options, figures, "reference"):
        reference = ReferenceStep(build(values, options))
        sides["reference"] = lambda: reference.step(images[:few])
    for name in options.precision:
        with timing.attempt(options, figures, name):
            methods[name] = build(values, options)
            sides[name] = stepping(methods[name], [images], name)

    def note(times: dict[str, timing.Timing]) -> None:
        figures["steps"] = {
            name: time.figures() | {"batch": sizes[name], "images_per_s": sizes[name] / time.median}
            for name, time in times.items()
        }
        for name in options.precision:
            if {"reference", name} <= times.keys():  # an image's time beside an image's time
                per_step = timing.ratio(times["reference"], times[name])
                figures[f"ratio_{SHORT[name]}"] = per_step * batch / few
        timing.write(options, figures)

    timing.in_turn(sides, options.rounds, device=options.device, failed=figures.setdefault("failed", {}), after=note)
    for name in [name for name in options.precision if name in figures.get("steps", {})]:
        with timing.attempt(options, figures, f"work of {name}"):
            step = figures["steps"][name]
            step |= timing.work_of(sides[name], options.device)
            step["tflops_per_s"] = step["flops"] / step["seconds"] / 1e12
            if options.device.startswith("cuda"):
                step["share_of_peak"] = step["tflops_per_s"] / PEAK_TFLOPS
        with timing.attempt(options, figures, f"terms of {name}"):
            measured = Terms(methods[name], images).measured(name, options.rounds)
            figures.setdefault("terms", {})[name] = measured
    show(figures)
    timing.conclude(options, figures)


def show(figures: dict[str, Any]) -> None:
    """The figures in two tables."""
    rows, steps = [], figures.get("steps", {})
    for name, step in steps.items():
        low, high = step["quartiles"]
        row = [name, str(step["batch"]), f"{step['seconds']:.3f}", f"{low:.3f} to {high:.3f}"]
        row += [f"{step['images_per_s']:.1f}"]
        found = [figures.get(f"{key}_{SHORT.get(name)}") for key in ("ratio", "grad_cosine")]
        rows.append(row + ["-" if value is None else f"{value:.5g}" for value in found])
    print(f"\nOne step, {figures['image_size']} pixels, width {figures['width']}:")
    timing.table(["side", "batch", "s", "quartiles", "images/s", "textbook / this", "gradient's cosine"], rows)
    for name, step in steps.items():
        if "tflops_per_s" in step:
            words = f"{step['flops'] / 1e12:.2f} TFLOP a step, {step['tflops_per_s']:.2f} TFLOP/s"
            if "share_of_peak" in step:
                words += f", {100 * step['share_of_peak']:.0f} % of {PEAK_TFLOPS:.0f}; peak {step['peak_mb']:.0f} MiB"
            print(f"{name}: {words}")
    for name, terms in figures.get("terms", {}).items():
        print(f"\nTerms in {name}, backward included:")
        rows = [[key, f"{term['ms']:.1f}", f"{term['kept_mb']:.1f}"] for key, term in terms.items()]
        timing.table(["term", "ms", "kept MiB"], rows)


if __name__ == "__main__":
    main()
