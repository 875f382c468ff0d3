"""Curves of equal compute: five runs take turns in slices of about equal seconds, and a probe follows each slice."""

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import timing
from benchmarks.gpu.measure import Plan
from benchmarks.gpu.output import CURVES_END, Output, finite
from benchmarks.probes import nearest
from structgan import precision, provenance, sources, train
from structgan.evaluation import extractor, features, linear, probe, samples
from structgan.evaluation.features import Features, Scored
from structgan.files import save_tensors, write_json

ENTRIES = (
    ("structural", "none"),
    ("simclr", "none"),
    ("simclr", "simclr"),
    ("plain_gan", "none"),
    ("structural", "crop"),
)
"""Method and augmentation of each run."""
PROBE_SECONDS = 4.0
"""First guess of what a probe takes; then it is measured."""
QUICK_LINEAR = {"max_iter": 300, "tol": 1e-3}
"""The linear probe of a curve stops earlier than the official one."""
REHEARSED = 500
"""Images of a split that a rehearsal probes."""
FIRST = ("linear", "knn", "samples", "fidelity")
"""Official measures, most wanted first, before all others."""
SHARD_BYTES = 15 * 2**20
"""Most bytes of weights in a file: machines that are lent often return small files only."""


class Entry:
    """One of the runs, and what it has used so far: ``seconds`` of training, ``flops`` of a step."""

    def __init__(self, name: str, augmentation: str, folder: Path, data: Path, plan: Plan) -> None:
        self.name, self.augmentation, self.title = name, augmentation, f"{name}-{augmentation}"
        self.plan, self.device = plan, plan.options.device
        self.run = train.Run(folder, data, self.device)
        self.run.method.train()
        with FlopCounterMode(display=False) as counter:
            self.run.update()
        self.flops = float(counter.get_total_flops())
        self.step_seconds = timing.timed(self.run.update, self.device)
        self.seconds = 2 * self.step_seconds  # the first step, which loads kernels, is counted as the second

    def train(self, seconds: float, to_come: float) -> None:
        """Train for some seconds; ``to_come`` are those of this slice and all later ones, where schedules end.

        Raises:
            UserError: the run has failed: a loss is not finite, or the features collapsed.
        """
        method, first = self.run.method.train(), self.run.step
        method.steps = first + max(1, round(to_come / self.step_seconds))
        stride = max(1, round(0.25 / self.step_seconds))  # the clock waits for the GPU: read it four times a second
        begin = time.perf_counter()
        while True:
            for _ in range(min(stride, method.steps - self.run.step)):
                self.run.update()
            timing.wait(self.device)
            spent = time.perf_counter() - begin
            if spent >= seconds or self.run.step == method.steps:
                break
        self.seconds += spent
        self.step_seconds = spent / (self.run.step - first)
        self.run.seconds = self.seconds
        self.run.log()

    def features(self, name: str) -> Features:
        """Features of the encoder in a precision."""
        method, dataset = self.run.method.eval(), self.run.dataset

        def encode(images: Tensor) -> Tensor:
            with precision.autocast(name, self.device):
                return method.encode(images)

        parts: list[Tensor] = []
        for split in (dataset.train, dataset.test):
            stride = max(1, len(split) // REHEARSED) if self.plan.options.small else 1
            parts += [features.extract(encode, split.images[::stride], 1000), split.labels[::stride]]
        return Features(*parts)

    def score(self) -> dict[str, float]:
        """Accuracy of a linear probe and of kNN on the test split, both on the device."""
        data, knn = self.features(self.plan.options.precision), self.plan.evaluation["knn"]
        found, _ = linear.logistic_regression(data, {**self.plan.evaluation["linear"], **QUICK_LINEAR})
        return {"linear": found["top1"], "knn": features.accuracy(nearest(data, **knn), data.test_labels)}

    def record(self) -> dict[str, Any]:
        """What the run has used so far."""
        return {
            "method": self.name,
            "augmentation": self.augmentation,
            "step": self.run.step,
            "planned_steps": self.run.method.steps,
            "images": self.run.step * self.run.training["batch_size"],
            "seconds": self.seconds,
            "flops": self.flops * self.run.step,
            "precision": self.plan.options.precision,
        }


def race(out: Output, plan: Plan, data: Path) -> list[Entry]:
    """Slices of equal training time in turn until the last part begins; the runs that have not failed."""
    options, entries = out.options, list[Entry]()
    for name, augmentation in ENTRIES:
        folder = plan.describe(out.scratch / "runs", name, augmentation)
        arguments = (Entry, name, augmentation, folder, data, plan)
        made = out.attempt(f"start of {name}-{augmentation}", CURVES_END, *arguments)
        entries += [made] if made else []
    target, played, probing = 0.0, 0, PROBE_SECONDS  # target: seconds of training that each run has had after a round
    while entries and played != options.rounds and out.left(CURVES_END) > len(entries) * (probing + options.slice / 4):
        share = out.left(CURVES_END) / len(entries)
        rounds = max(1, int(share / (options.slice + probing)))
        seconds = share / rounds - probing  # what is left over is spread, so that all rounds are equally long
        if options.rounds:
            rounds, seconds = options.rounds - played, options.slice
        target, played = target + seconds, played + 1
        to_come = (rounds - 1) * seconds
        names, over = {f"slice {played} of {entry.title}": entry for entry in entries}, []
        for name, entry in names.items():
            over.append(out.attempt(name, CURVES_END, turn, out, entry, target, to_come, played))
        probing = max((took for took in over if took is not None), default=probing)
        entries = [entry for name, entry in names.items() if name not in out.found["failed"]]
    return entries


def turn(out: Output, entry: Entry, target: float, to_come: float, played: int) -> float:
    """Train a run until it has had ``target`` seconds, probe it and write a line; the seconds beside training."""
    begin, owed = out.now(), target - entry.seconds
    entry.train(owed, owed + to_come)
    line = {**entry.record(), "slice": played, **entry.score(), "losses": entry.run.history.records[-1]["losses"]}
    out.append("curve.jsonl", json.dumps(finite(line)) + "\n")
    return out.now() - begin - owed


def finish(out: Output, plan: Plan, data: Path, entries: list[Entry]) -> None:
    """The first run's encoder, and the official measures of every run, most wanted first, while there is time."""
    for entry in entries[:1]:
        out.attempt(f"encoder of {entry.title}", 1.0, bring_encoder, out, entry)
    jobs: list[tuple[str, Entry, Callable[[], Scored]]] = []
    for entry in entries:
        found = out.attempt(f"features of {entry.title}", 1.0, entry.features, "float32")
        own: dict[str, Callable[[], Scored]] = dict(probe.probes(found, plan.evaluation)) if found else {}
        if sources.capabilities(entry.name)["samples"]:
            if entry.augmentation == "none":  # eight files at most are brought home
                own["samples"] = partial(grid, out, entry)
            own["fidelity"] = partial(distance, out, data, entry)
        jobs += [(name, entry, job) for name, job in own.items()]
    for name, entry, job in sorted(jobs, key=lambda job: FIRST.index(job[0]) if job[0] in FIRST else len(FIRST)):
        out.attempt(f"{name} of {entry.title}", 0.995, measure, out, entry, name, job)


def bring_encoder(out: Output, entry: Entry) -> None:
    """Write the encoder's weights in bfloat16, in files that each hold at most SHARD_BYTES."""
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in entry.run.method.encoder.state_dict().items():
        kept = tensor.bfloat16() if tensor.is_floating_point() else tensor
        if size + kept.nbytes > SHARD_BYTES and shards[-1]:
            shards.append({})
            size = 0
        shards[-1][name] = kept
        size += kept.nbytes
    about = {"method": entry.name, "augmentation": entry.augmentation, "step": str(entry.run.step)}
    for number, shard in enumerate(shards, 1):
        save_tensors(out.folder / f"encoder-{number}-of-{len(shards)}.safetensors", shard, about)


def measure(out: Output, entry: Entry, name: str, job: Callable[[], Scored]) -> None:
    """One official measure of a run."""
    metrics, protocol = job()
    out.found["final"].append({**entry.record(), "measure": name, "metrics": metrics, "protocol": protocol})


def grid(out: Output, entry: Entry) -> Scored:
    """Write a grid of generated images."""
    method: Any = entry.run.method.eval()
    drawn = samples.draw(method, samples.GRID**2, 0, samples.GRID**2, entry.device)
    samples.write_grid(drawn, out.folder / f"samples-{entry.title}.png")
    return {"images": len(drawn)}, {"seed": 0}


def distance(out: Output, data: Path, entry: Entry) -> Scored:
    """FID and Inception Score with the embedded extractor, which the first call trains."""
    from structgan.evaluation import torch_fidelity  # needs torch-fidelity, which may be missing

    evaluation, method = entry.plan.evaluation, entry.run.method.eval()
    weights, planned = out.scratch / "extractor.safetensors", out.scratch / "extractor.json"
    if not weights.exists():
        write_json(planned, provenance.protocol("extractor", {"extractor": evaluation["extractor"]}))
        extractor.train(data, planned, weights, entry.device)
    asked, real = evaluation["fidelity"], entry.run.dataset.test.images
    drawn = samples.draw(method, asked["n_generated"], asked["seed"], asked["batch_size"], entry.device)  # type: ignore[arg-type]
    metrics = torch_fidelity.measure(drawn, real, asked, weights, entry.device)
    about = {"backend": torch_fidelity.VERSION, "extractor_test_accuracy": extractor.load(weights).test_accuracy}
    return metrics, {**asked, **about, "extractor_settings": evaluation["extractor"]}
