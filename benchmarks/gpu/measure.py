"""What this machine can do, whether each method runs on it, how fast a step is, and where its time goes."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks import settings, timing
from benchmarks.reference_step import ReferenceStep
from benchmarks.step import scans, stepping
from structgan import config, method, sources, train
from structgan.datasets import Parts, Split, store
from structgan.files import read_json, write_json
from structgan.grid import Grid

if TYPE_CHECKING:
    from benchmarks.gpu.short_run import Options, Output

SUITE, DATASET = "cifar10-gpu", "cifar10_jpeg"
TIMED = ("structural", "plain_gan", "simclr")
CHECKED = 32
"""Images a step of a method's check."""
KERNELS = 30
EVALUATION = {
    "fidelity": {"extractor": "embedded", "reference": "test", "n_generated": 10000, "metrics": ["fid", "is"]},
    "extractor": {"epochs": 5, "batch_size": 256},
}
"""What seconds allow: the distances compare rows of one table and nothing else."""
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
        settings: a configuration as ``structgan.grid.Grid`` takes it.
        evaluation: its block of that name.
    """

    def __init__(self, options: Options) -> None:
        self.options, found = options, settings.read()
        found["evaluation"] = config.merge(found["evaluation"], EVALUATION)
        if options.small:
            found["evaluation"] = config.merge(found["evaluation"], QUICK)
        found["training"] |= {"batch_size": options.batch, "precision": "bfloat16", "online_probe": None}
        for block in found["methods"].values():
            for key in ("training", "variants", "sweep", "upstream"):
                block.pop(key, None)
        size = {"builder": "folder", "image_size": options.image_size}
        self.settings = {"suite": SUITE, "datasets": {DATASET: size}, **found}
        self.evaluation = found["evaluation"]

    def describe(self, root: Path, name: str, augmentation: str, small: bool, **training: Any) -> Path:
        """Write the config.json of a run below ``root`` and return its folder."""
        found = copy.deepcopy(self.settings)
        found["training"] |= training
        if small:
            found["methods"] = {
                key: {**block, "settings": settings.shrink(block["settings"])}
                for key, block in found["methods"].items()
            }
        run = Grid({**found, "methods": {name: found["methods"][name]}}).run(DATASET, name, augmentation, "base", 0)
        write_json(root / run.path / "config.json", run.content)
        return root / run.path

    def build(self, folder: Path) -> method.Method:
        """The method of a run, ready to step on the device."""
        torch.manual_seed(0)
        made = method.build(read_json(folder / "config.json"), 10).to(self.options.device).train()
        made.rng = torch.Generator(self.options.device).manual_seed(1)
        return made


def timed(work: Callable[[], object], options: Options, seconds: float) -> timing.Timing:
    """Times of one call after another, the first two of them left out, for some seconds but of at least three calls."""
    unseen, least = (1, 1) if options.small else (2, 3)
    found: list[float] = []
    end = time.perf_counter() + min(seconds, options.slice)
    while len(found) < unseen + least or (time.perf_counter() < end and len(found) < 50):
        timing.wait(options.device)
        begin = time.perf_counter()
        work()
        timing.wait(options.device)
        found.append(time.perf_counter() - begin)
    return timing.Timing(found[unseen:])


def ceilings(out: Output) -> None:
    """The rates that shares are relative to: a copy's bytes, read and written, and a bfloat16 matrix product."""
    device = out.options.device
    big = device != "cpu"

    def copying() -> None:
        source = torch.empty(2**30 if big else 2**22, dtype=torch.uint8, device=device)
        target = torch.empty_like(source)
        best = min(timed(lambda: target.copy_(source), out.options, 0.5).seconds)
        out.steps["ceilings"]["copy_bytes_per_s"] = 2 * source.numel() / best

    def product() -> None:
        n = 8192 if big else 256
        a, b = (torch.randn(n, n, device=device).bfloat16() for _ in range(2))
        best = min(timed(lambda: a @ b, out.options, 1.0).seconds)
        out.steps["ceilings"]["bfloat16_flops_per_s"] = 2 * n**3 / best

    out.attempt("copy bandwidth", copying)
    out.attempt("matrix product", product)


def check_methods(out: Output, plan: Plan) -> None:
    """Three small steps of every method, then a save, a reload and one step more."""
    from benchmarks.gpu import curves

    first = list(dict.fromkeys(name for name, _ in curves.ENTRIES))
    every = out.options.check or (*first, *(name for name in sources.methods() if name not in first))
    data = out.scratch / "noise.safetensors"
    size, generator = out.options.image_size, torch.Generator().manual_seed(0)
    images = torch.randint(256, (160, 3, size, size), generator=generator, dtype=torch.uint8)
    labels = torch.arange(160) % 10
    parts = Parts(tuple(map(str, range(10))), Split(images[:128], labels[:128]), Split(images[128:], labels[128:]))
    store.save(data, parts, {"name": DATASET})
    for name in every:
        if out.left(out.options.check_until) > 0:
            out.attempt(f"check {name}", check, out, plan, data, name)
        else:
            out.env["not_reached"].append(f"check {name}")
    out.save()


def check(out: Output, plan: Plan, data: Path, name: str) -> None:
    """Train, save, reload and sample one method in small.

    Raises:
        RuntimeError: the state that was read is not the one that was saved.
    """
    regime = "none" if name in ("plain_gan", "random") else "simclr"  # GenRep learns from the plain GAN's run
    training = {"batch_size": CHECKED, "steps": 4}
    folder = plan.describe(out.scratch / "checks", name, regime, True, **training)
    run, again = (train.Run(folder, data, out.options.device) for _ in range(2))
    run.method.train()
    for _ in range(3):
        run.update()
    run.save()
    again.resume()
    saved = run.method.state_dict()
    wrong = [key for key, value in again.method.state_dict().items() if not torch.equal(value, saved[key])]
    if wrong or again.step != 3:
        raise RuntimeError(f"step {again.step} after a reload of step 3, '{(wrong or ['nothing'])[0]}' differs")
    again.method.train()
    again.update()
    losses = again.log()
    again.publish()
    again.method.eval()
    images = again.dataset.test.images.float() / 127.5 - 1
    with torch.no_grad():
        features = again.method.encode(images)
    record = {"losses": losses, "features": list(features.shape), "reloaded": True}
    if sources.capabilities(name)["samples"]:
        drawn = again.method.sample(4, torch.Generator(out.options.device).manual_seed(0))  # type: ignore[operator]
        record["samples_finite"] = bool(drawn.isfinite().all())
    out.steps["checks"][name] = record


def speed(out: Output, plan: Plan) -> None:
    """Step times of each method by batch and precision, most wanted first."""
    first, *others = out.options.speed_batch
    sides = [(name, "bfloat16", first) for name in TIMED] + [("reference", "float32", out.options.reference_batch)]
    for precision, batches in (("bfloat16", others), ("float32", [first, *others])):
        sides += [(name, precision, batch) for batch in batches for name in TIMED]
    for name, precision, batch in sides:
        what = f"step of {name}, {precision}, batch {batch}"
        if out.left(out.options.speed_until) > 0:
            out.attempt(what, measure_step, out, plan, name, precision, batch)
        else:
            out.env["not_reached"].append(what)


def measure_step(out: Output, plan: Plan, name: str, precision: str, batch: int) -> None:
    """Seconds, operations, memory and kernels of one side; the seconds are on the disk before the rest is tried."""
    device, size = out.options.device, out.options.image_size
    own = "structural" if name == "reference" else name
    made = plan.build(plan.describe(out.scratch / "steps", own, "none", out.options.small, precision=precision))
    images = scans(batch, size, device)
    if name == "reference":
        reference = ReferenceStep(made)
        work: Callable[[], object] = lambda: reference.step(images)  # noqa: E731
    else:
        work = stepping(made, [images] * made.views, precision)
    found = timed(work, out.options, 2.0)
    side: dict[str, Any] = {
        "method": name,
        "precision": precision,
        "batch": batch,
        "images_per_s": batch / found.median,
    }
    side |= found.figures()
    out.steps["sides"].append(side)
    out.save()
    side |= timing.work_of(work, device)
    side["flops_per_s"] = side["flops"] / side["seconds"]
    if peak := out.steps["ceilings"].get("bfloat16_flops_per_s"):
        side["share_of_measured_peak"] = side["flops_per_s"] / peak
    out.save()
    if name == "reference" or (precision, batch) == ("bfloat16", out.options.speed_batch[0]):
        out.append("profile.txt", f"{name}, {precision}, batch {batch}, one step\n{kernels(work, device)}\n")


def kernels(work: Callable[[], object], device: str) -> str:
    """The longest kernels of one call: milliseconds, share of all, calls, name; on a CPU its operations."""
    gpu = device != "cpu"
    with profile(activities=[ProfilerActivity.CUDA if gpu else ProfilerActivity.CPU], acc_events=True) as seen:
        work()
        timing.wait(device)
    own = "self_device_time_total" if gpu else "self_cpu_time_total"
    events = list(seen.key_averages())
    events.sort(key=lambda event: -getattr(event, own))
    total = sum(getattr(event, own) for event in events) or 1
    count = sum(event.count for event in events)
    lines = [f"{total / 1e3:10.3f} ms  {count} calls in all"]
    for event in events[:KERNELS]:
        spent = getattr(event, own)
        lines.append(f"{spent / 1e3:10.3f} ms  {100 * spent / total:5.1f} %  {event.count:6d}  {event.key[:160]}")
    return "\n".join(lines) + "\n"
