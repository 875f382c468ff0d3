"""What this machine can do, whether each method runs on it, how fast a step is, and where its time goes."""

import copy
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks import settings, timing
from benchmarks.gpu.output import CHECKS_END, SPEED_END, Options, Output
from benchmarks.reference_step import ReferenceStep
from benchmarks.rival_step import RivalStep
from benchmarks.step import scans, stepping
from structgan import config, method, sources, train
from structgan import kernels as fused_kernels
from structgan.datasets import Parts, Split, store
from structgan.files import read_json, write_json
from structgan.grid import Grid

SUITE, DATASET = "cifar10-gpu", "cifar10_jpeg"
TIMED = ("structural", "plain_gan", "simclr")
FORMS = ("eager", "reference", "rival")
"""The structural GAN's step without the fused kernels, as the paper's text has it, and as a good engineer writes it."""
EVALUATION = {
    "fidelity": {"extractor": "embedded", "reference": "test", "n_generated": 10000, "metrics": ["fid", "is"]},
    "extractor": {"epochs": 5, "batch_size": 256},
}
"""What fits in seconds. Its distances compare rows of one table and nothing else."""
QUICK = {
    "fidelity": {"n_generated": 20, "batch_size": 20, "is_splits": 2},
    "extractor": {"width": 4, "epochs": 1},
    "knn": {"k": 3},
    "kmeans": {"n_init": 1},
    "few_labels": {"fractions": [0.5]},
}


class Plan:
    """The resolved settings, from which any run of any method can be described.

    Attributes:
        evaluation: the protocols of the last part.
    """

    def __init__(self, options: Options) -> None:
        found = settings.read()
        self.evaluation = config.merge(found["evaluation"], EVALUATION)
        if options.small:
            self.evaluation = config.merge(self.evaluation, QUICK)
        found["training"] |= {"batch_size": options.batch, "precision": options.precision}
        found["training"] |= {"online_probe": None, "curve": None}
        for block in found["methods"].values():
            block.pop("training", None)
        self.options = options
        size = {"builder": "folder", "image_size": options.image_size, "content": "not hashed"}
        self.config = {"suite": SUITE, "datasets": {DATASET: size}, **found}

    def describe(self, root: Path, name: str, augmentation: str, small: bool = False, **training: Any) -> Path:
        """Write the config.json of a run below ``root`` and return its folder."""
        found = copy.deepcopy(self.config)
        found["training"] |= training
        if small or self.options.small:
            for block in found["methods"].values():
                block["settings"] = settings.shrink(block["settings"])
        run = Grid(found).run(DATASET, name, augmentation, "base", 0)
        write_json(root / run.path / "config.json", run.content)
        return root / run.path


def repeat(work: Callable[[], object], options: Options, seconds: float) -> list[float]:
    """Seconds of one call after another, without the first ones: for some time, but at least three calls."""
    unseen, least, limit = (1, 1, 0.0) if options.small else (2, 3, seconds)
    end, found = time.perf_counter() + limit, list[float]()
    while len(found) < unseen + least or (time.perf_counter() < end and len(found) < 50):
        found.append(timing.timed(work, options.device))
    return found[unseen:]


def ceilings(out: Output) -> None:
    """The rates that shares are relative to: a copy's bytes, read and written, and a bfloat16 matrix product."""
    device, rates = out.options.device, out.found["ceilings"]
    size, n = (2**22, 256) if device == "cpu" else (2**30, 8192)

    def copying() -> None:
        source, target = (torch.empty(size, dtype=torch.uint8, device=device) for _ in range(2))
        rates["copy_bytes_per_s"] = 2 * size / min(repeat(lambda: target.copy_(source), out.options, 0.5))

    def product() -> None:
        a, b = (torch.randn(n, n, device=device).bfloat16() for _ in range(2))
        rates["bfloat16_flops_per_s"] = 2 * n**3 / min(repeat(lambda: a @ b, out.options, 1.0))

    out.attempt("copy bandwidth", 1.0, copying)
    out.attempt("matrix product", 1.0, product)


def check_methods(out: Output, plan: Plan) -> None:
    """Three small steps of every method, then a save, a reload and one step more."""
    size, generator = out.options.image_size, torch.Generator().manual_seed(0)
    images = torch.randint(256, (160, 3, size, size), generator=generator, dtype=torch.uint8)
    labels, data = torch.arange(160) % 10, out.scratch / "noise.safetensors"
    splits = Split(images[:128], labels[:128]), Split(images[128:], labels[128:])
    store.save(data, Parts(tuple("0123456789"), *splits), {"name": DATASET})
    for name in out.options.check or dict.fromkeys((*TIMED, *sources.methods())):
        out.attempt(f"check {name}", CHECKS_END, check, out, plan, data, name)


def check(out: Output, plan: Plan, data: Path, name: str) -> None:
    """Train, save, reload and sample one method in small.

    Raises:
        RuntimeError: the state that was read is not the one that was saved.
    """
    augmentation = "none" if name in ("plain_gan", "random") else "simclr"  # GenRep learns from the plain GAN's run
    folder = plan.describe(out.scratch / "checks", name, augmentation, small=True, batch_size=32, steps=4)
    run, again = (train.Run(folder, data, out.options.device) for _ in range(2))
    run.method.train()
    for _ in range(3):
        run.update()
    run.save()
    again.resume()
    saved = run.method.state_dict()
    wrong = [key for key, value in again.method.state_dict().items() if not torch.equal(value, saved[key])]
    if wrong or again.step != 3:
        raise RuntimeError(f"step {again.step} after a reload of step 3; these differ: {wrong[:3]}")
    again.method.train()
    again.update()
    record: dict[str, Any] = {"losses": again.log(), "reloaded": True}
    again.publish()
    again.method.eval()
    with torch.no_grad():
        record["features"] = list(again.method.encode(again.dataset.test.images.float() / 127.5 - 1).shape)
    if sources.capabilities(name)["samples"]:
        drawn = again.method.sample(4, torch.Generator(out.options.device).manual_seed(0))  # type: ignore[operator]
        record["samples_finite"] = bool(drawn.isfinite().all())
    out.found["checks"][name] = record


def speed(out: Output, plan: Plan) -> None:
    """Step times of each method by batch and precision, most wanted first, and ratios of images a second.

    A ratio is of the fastest structural side to the fastest of another form of its step.
    """
    first, *others = out.options.speed_batches
    sides = [(name, out.options.precision, first) for name in TIMED]
    few = out.options.reference_batch
    sides += [("eager", out.options.precision, first), ("reference", "float32", few)]
    sides += [("rival", out.options.precision, batch) for batch in (few, first)]
    sides += [(name, out.options.precision, batch) for batch in others for name in TIMED]
    if out.options.precision != "float32":
        sides += [(name, "float32", batch) for batch in out.options.speed_batches for name in TIMED]
    for name, precision, batch in sides:
        what = f"step of {name}, {precision}, batch {batch}"
        out.attempt(what, SPEED_END, measure_step, out, plan, name, precision, batch)
    best: dict[str, float] = {}
    for side in out.found["steps"]:
        best[side["method"]] = max(side["images_per_s"], best.get(side["method"], 0.0))
    if mine := best.get("structural"):
        out.found["ratios"] = {name: mine / best[name] for name in FORMS if name in best}
    out.save()


def measure_step(out: Output, plan: Plan, name: str, precision: str, batch: int) -> None:
    """Seconds, operations, memory and kernels of one side; the seconds are on the disk before the rest is tried."""
    device = out.options.device
    own = "structural" if name in FORMS else name
    torch.manual_seed(0)
    made = method.build(read_json(plan.describe(out.scratch / "steps", own, "none") / "config.json"), 10).to(device)
    made.rng = torch.Generator(device).manual_seed(1)
    images = scans(batch, out.options.image_size, device)
    work: Callable[[], object] = stepping(made.train(), [images] * made.views, precision)
    if name == "reference":
        work = partial(ReferenceStep(made).step, images)
    elif name == "rival":
        work = partial(RivalStep(made, precision, out.options.compiled).step, images)
    elif name == "eager":
        work = fused_kernels.eager()(work)
    seconds = repeat(work, out.options, 2.0)
    side: dict[str, Any] = {"method": name, "precision": precision, "batch": batch, **timing.figures(seconds)}
    side["images_per_s"] = batch / statistics.median(seconds)
    out.found["steps"].append(side)
    out.save()
    side |= timing.work_of(work, device)
    side["flops_per_s"] = side["flops"] / side["seconds"]
    if peak := out.found["ceilings"].get("bfloat16_flops_per_s"):
        side["share_of_peak"] = side["flops_per_s"] / peak
    if own != name or (precision, batch) == (out.options.precision, out.options.speed_batches[0]):
        side["longest"] = timing.longest(work, device, 30)
