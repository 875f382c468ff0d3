"""Curves of equal compute: five runs take turns in slices of about equal seconds, and a probe follows each slice."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import timing
from benchmarks.gpu.short_run import clean
from structgan import precision, provenance, sources, train
from structgan.evaluation import extractor, features, linear, probe, samples
from structgan.evaluation.features import Features, Scored
from structgan.files import write_json

if TYPE_CHECKING:
    from benchmarks.gpu.measure import Plan
    from benchmarks.gpu.short_run import Output

PRECISION = "bfloat16"
ENTRIES = (
    ("structural", "none"),
    ("simclr", "none"),
    ("simclr", "simclr"),
    ("plain_gan", "none"),
    ("structural", "crop"),
)
"""Method and regime of each run; the first one's encoder is brought home."""
PROBE_SECONDS = 4.0
"""First guess of what a probe takes; then it is measured."""
QUICK_LINEAR = {"max_iter": 300, "tol": 1e-3}
"""The linear probe of a curve stops earlier than the official one."""
REHEARSED = 500
"""Images of a split that a rehearsal probes."""
PIECE = 15 * 2**20
"""Bytes of one file of the encoder."""
ORDER = ("linear", "knn", "samples", "fidelity", "svm", "linear_10pct", "linear_1pct", "kmeans")
"""Official measures, most wanted first; others come last."""


class Entry:
    """One of the runs, and what it has used so far: ``seconds`` of training, ``flops`` of a step."""

    def __init__(self, name: str, augmentation: str, folder: Path, data: Path, device: str) -> None:
        self.method, self.augmentation, self.title = name, augmentation, f"{name}-{augmentation}"
        self.run = train.Run(folder, data, device)
        self.device, self.seconds, self.slices = device, 0.0, 0
        self.run.method.train()
        with FlopCounterMode(display=False) as counter:
            self.run.update()
        self.flops = float(counter.get_total_flops())
        begin = self.clock()
        for _ in range(3):
            self.run.update()
        self.step_seconds = (self.clock() - begin) / 3
        self.seconds = 4 * self.step_seconds  # the first step, whose kernels are loaded, is counted as the others

    def clock(self) -> float:
        """The time when the device has done all that it was given."""
        timing.wait(self.device)
        return time.perf_counter()

    def train(self, seconds: float, to_come: float) -> None:
        """Train for some seconds.

        Args:
            seconds: of this slice.
            to_come: of this slice and all later ones: schedules that depend on the length end there.

        Raises:
            UserError: the run has failed: a loss is not finite, or the features collapsed.
        """
        self.run.method.steps = self.run.step + max(1, round(to_come / self.step_seconds))
        self.run.method.train()
        stride = max(
            1, round(0.25 / self.step_seconds)
        )  # the clock waits for the GPU, so it is read four times a second
        begin, first = self.clock(), self.run.step
        while self.run.step < self.run.method.steps:
            self.run.update()
            if (self.run.step - first) % stride == 0 and self.clock() - begin >= seconds:
                break
        spent = self.clock() - begin
        self.seconds += spent
        self.step_seconds = spent / (self.run.step - first)
        self.slices += 1
        self.run.seconds = self.seconds
        self.run.log()

    def features(self, plan: Plan, narrow: bool) -> Features:
        """Features in the precision of training (``narrow``) or in float32."""
        method, dataset = self.run.method.eval(), self.run.dataset

        def encode(images: Tensor) -> Tensor:
            with precision.autocast(PRECISION if narrow else "float32", self.device):
                return method.encode(images)

        parts: list[Tensor] = []
        for split in (dataset.train, dataset.test):
            stride = max(1, len(split) // REHEARSED) if plan.options.small else 1
            parts += [features.extract(encode, split.images[::stride], 1000), split.labels[::stride]]
        method.train()
        return Features(*parts)

    def score(self, plan: Plan) -> dict[str, float]:
        """Accuracy of a linear probe and of kNN on the test split, both on the device."""
        data, knn = self.features(plan, narrow=True), plan.evaluation["knn"]
        found, _ = linear.logistic_regression(data, {**plan.evaluation["linear"], **QUICK_LINEAR})
        labels = nearest(data.train, data.train_labels, data.test, knn["k"], knn["temperature"], data.classes)
        return {"linear": found["top1"], "knn": features.accuracy(labels, data.test_labels)}

    def record(self) -> dict[str, Any]:
        """What a line of the curve says of the run besides its scores."""
        batch = self.run.training["batch_size"]
        return {
            "method": self.method,
            "augmentation": self.augmentation,
            "slice": self.slices,
            "step": self.run.step,
            "planned_steps": self.run.method.steps,
            "images": self.run.step * batch,
            "seconds": self.seconds,
            "flops": self.flops * self.run.step,
            "losses": self.run.history.records[-1]["losses"] if self.run.history.records else {},
        }


def nearest(train: Tensor, labels: Tensor, queries: Tensor, k: int, temperature: float, classes: int) -> Tensor:
    """What ``structgan.evaluation.knn`` predicts, found on the device. Shape: (N, D), (N,), (M, D) to (M,)."""
    pool, found = features.normalize(train), []
    for part in torch.split(features.normalize(queries), 1000):
        cosine, index = (part @ pool.T).topk(k, dim=1)
        weight = torch.exp((cosine - cosine[:, :1]) / temperature)
        votes = weight.new_zeros(len(part), classes).scatter_add_(1, labels[index], weight)
        found.append(votes.argmax(1))
    return torch.cat(found)


def race(out: Output, plan: Plan, data: Path) -> list[Entry]:
    """Slices of equal training seconds in turn until the last part begins; the runs that are left."""
    options, entries = out.options, list[Entry]()
    end = options.deadline - options.last
    for name, regime in ENTRIES:
        if f"train {name}-{regime}" not in out.env["failed"]:
            folder = plan.describe(out.scratch / "runs", name, regime, options.small)
            arguments = (name, regime, folder, data, options.device)
            made = out.attempt(f"start of {name}-{regime}", Entry, *arguments, again=True)
            entries += [made] if made else []
    probe = PROBE_SECONDS if not options.small else 0.3
    target, played = 0.0, 0  # seconds of training that each run has had at the end of a round; rounds
    while entries and played != options.rounds and out.left(end) > len(entries) * (probe + 0.25 * options.slice):
        share = out.left(end) / len(entries)
        rounds = max(1, int(share / (options.slice + probe)))
        seconds = share / rounds - probe  # what is left over is spread, so that the last round is as long as the others
        if options.rounds:
            rounds, seconds = options.rounds - played, min(seconds, options.slice)
        target, played = target + seconds, played + 1
        spent: list[float] = []
        for entry in list(entries):
            if out.left(end) < probe + 0.25 * options.slice and not options.rounds:
                out.env["not_reached"].append(f"slice {played} of {entry.title}")
                continue
            begin = out.now()
            line: dict[str, Any] = {"method": entry.method, "augmentation": entry.augmentation, "slice": entry.slices}
            start = out.env["starts"]  # of the process: after a fault of the GPU the runs begin anew
            try:
                owed = target - entry.seconds  # of the first slice some was used at the start
                entry.train(owed, owed + (rounds - 1) * seconds)
                line = entry.record()
                middle = out.now()
                line |= entry.score(plan) | {"probe_seconds": out.now() - middle}
                if entry.title == "-".join(ENTRIES[0]):
                    bring_encoder(out, entry)
            except Exception as error:
                entries.remove(entry)
                line["failed"] = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:300]}"
                out.env["failed"][f"train {entry.title}"] = line["failed"]
                out.save()
                out.recover(f"train {entry.title}")
            spent.append(out.now() - begin)
            probe = max(0.1, max(spent) - seconds)
            line |= {"precision": PRECISION, "process_seconds": out.now(), "start": start}
            out.append("curve.jsonl", json.dumps(clean(line)) + "\n")
            scores = " ".join(f"{key} {100 * line[key]:.1f}" for key in ("linear", "knn") if key in line)
            out.say(f"{entry.title}: step {entry.run.step}, {entry.seconds:.1f} s, {scores or line.get('failed')}")
    return entries


def bring_encoder(out: Output, entry: Entry) -> None:
    """Write the encoder in float16, in as few files as its size allows: encoder.0.safetensors and so on."""
    from safetensors.torch import save

    pieces: list[dict[str, Tensor]] = [{}]
    room = PIECE
    for name, value in entry.run.method.encoder.state_dict().items():
        half = value.half() if value.is_floating_point() else value
        tensor = half.cpu().contiguous()
        if tensor.nbytes > room and pieces[-1]:
            pieces.append({})
            room = PIECE
        room -= tensor.nbytes
        pieces[-1][name] = tensor
    about = {
        "method": entry.method,
        "augmentation": entry.augmentation,
        "step": str(entry.run.step),
        "weights": "float16",
    }
    for index, piece in enumerate(pieces):
        out.replace(f"encoder.{index}.safetensors", save(piece, {**about, "pieces": str(len(pieces))}))


def finish(out: Output, plan: Plan, data: Path, entries: list[Entry]) -> None:
    """The official measures of every run, most wanted first, as many as the time allows."""
    jobs: list[tuple[int, str, Callable[[], Any]]] = []
    records: dict[str, dict[str, Any]] = {entry.title: entry.record() for entry in entries}
    for entry in entries:
        if out.left() < 3:
            out.env["not_reached"].append(f"final measures of {entry.title}")
            continue
        out.keep(f"{entry.title}/history.json", encoded({"records": entry.run.history.records}))
        read = out.attempt(f"features of {entry.title}", entry.features, plan, False, again=True)
        own: dict[str, Callable[[], Any]] = dict(probe.probes(read, plan.evaluation)) if read else {}
        if sources.capabilities(entry.method)["samples"]:
            own["samples"] = partial(grid, out, entry)
            own["fidelity"] = partial(distance, out, plan, data, entry)
        jobs += [(rank(name), f"{name} of {entry.title}", job) for name, job in own.items()]
    for _, what, job in sorted(jobs, key=lambda item: item[0]):
        name, _, title = what.partition(" of ")
        if out.left() < 3:
            out.env["not_reached"].append(what)
            continue
        measured = out.attempt(what, job)
        if measured is not None:
            metrics, about = measured
            records[title].setdefault("final", {})[name] = {"metrics": clean(metrics), "protocol": about}
            out.keep(f"{title}/result.json", encoded(clean(records[title])))


def rank(name: str) -> int:
    """The place of a measure in ``ORDER``."""
    return ORDER.index(name) if name in ORDER else len(ORDER)


def encoded(value: Any) -> bytes:
    """A value as the bytes of a JSON file."""
    return (json.dumps(clean(value), indent=1) + "\n").encode()


def grid(out: Output, entry: Entry) -> Scored:
    """Bring a grid of generated images home."""
    method: Any = entry.run.method.eval()
    drawn = samples.draw(method, samples.GRID**2, 0, samples.GRID**2, entry.device)
    with tempfile.TemporaryDirectory() as scratch:
        samples.write_grid(drawn, Path(scratch) / "samples.png")
        out.keep(f"{entry.title}/samples.png", (Path(scratch) / "samples.png").read_bytes())
    return {"images": len(drawn)}, {"seed": 0}


def distance(out: Output, plan: Plan, data: Path, entry: Entry) -> Scored:
    """FID and Inception Score with the embedded extractor, which the first call trains."""
    from structgan.evaluation import limits, torch_fidelity  # here, for it needs torch-fidelity, which may be missing

    weights, planned = out.scratch / "extractor.safetensors", out.scratch / "extractor.json"
    if not weights.exists():
        write_json(planned, provenance.protocol("extractor", {"extractor": plan.evaluation["extractor"]}))
        extractor.train(data, planned, weights, entry.device)
    asked, method = plan.evaluation["fidelity"], entry.run.method.eval()
    limits.fidelity(asked, len(entry.run.dataset.test))
    drawn = samples.draw(method, asked["n_generated"], asked["seed"], asked["batch_size"], entry.device)  # type: ignore[arg-type]
    metrics = torch_fidelity.measure(drawn, entry.run.dataset.test.images, asked, weights, entry.device)
    about = {"backend": torch_fidelity.VERSION, "extractor_test_accuracy": extractor.load(weights).test_accuracy}
    return metrics, {**asked, **about, "extractor_settings": plan.evaluation["extractor"]}
