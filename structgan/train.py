"""The training loop, one for all methods.

The whole data set lies on the device as uint8; a batch is an index, an augmentation of the whole batch at once and one
call of the method's ``step``. All randomness comes from generators that the state holds, and the losses since the last
record are in it too: a resumed run goes on exactly, at any step. On a CPU it ends with the bytes of an uninterrupted
run; CUDA's sums are not repeatable to the last bit, interrupted or not.
"""

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch

from structgan import augment, distributed, environment, method, precision, provenance, sources
from structgan.datasets import load
from structgan.errors import UserError
from structgan.files import save_tensors, sweep, write_json
from structgan.progress import Progress
from structgan.training import checkpoint, curve, flops, heartbeat, monitor, online_probe, processes, upstream
from structgan.training.batches import Batches
from structgan.training.preempt import Preemption, Stopped

WRITES = (checkpoint.NAME, "history.json", "env.json", heartbeat.NAME)
"""Files of a run's folder that training writes, besides its networks."""


class Run:
    """One run folder being trained: its method, data, generators, history and states."""

    def __init__(self, folder: Path, data: Path, device: str) -> None:
        self.folder, self.device = folder, device
        torch.backends.cudnn.benchmark = device.startswith("cuda")  # batches have one shape
        self.config = provenance.read_config(folder)
        self.settings = self.config["settings"]
        self.training = self.settings["training"]
        if self.config["sources"] != sources.run_digest(self.config["method"]):
            raise UserError(f"{folder}/config.json: planned for other sources than these; plan again")
        seeds = np.random.SeedSequence(self.config["seed"]).generate_state(4).tolist()  # weights, order, latents, probe
        checkpoint.seed(seeds[0])
        self.dataset = load(data, device, verify=True)
        self.check_images(data)
        images = self.dataset.content_hash
        self.method = method.build(self.config, len(self.dataset.classes)).to(device)
        self.upstream = upstream.load(folder, self.config, images, device)
        if self.upstream:
            self.method.attach(self.upstream.method)
        if self.method.uses_labels:
            self.dataset = self.dataset.labelled()
        processes.wrap(self.method, self.method.optimizers())
        self.method.rng = torch.Generator(device).manual_seed(seeds[2])
        order = torch.Generator().manual_seed(seeds[1])
        transform = augment.build(self.settings["augmentation"], self.dataset.image_size)
        self.batches = Batches(self.dataset, self.training["batch_size"], transform, self.method.views, order)
        self.method.transform = self.batches.view
        self.method.images = self.dataset.training_images
        made_with = json.dumps(self.upstream.record["files"]) if self.upstream else "none"
        of = {"identity": self.config["identity"], "data set": images, "upstream run": made_with}
        self.states = checkpoint.States(folder, of)
        self.probe = None
        if self.training["online_probe"] is not None and self.dataset.training_labels is not None:
            self.probe = online_probe.OnlineProbe(self.method, self.dataset, self.training, device, seeds[3])
        self.curve = curve.Curve(self.method, self.dataset, self.training, device)
        self.flops = flops.Counter()
        self.step, self.seconds = 0, 0.0
        self.history = monitor.History(folder, self.training["batch_size"])
        self.environment = environment.Record(device, self.training["precision"])

    def check_images(self, data: Path) -> None:
        """Refuse images that the run was not planned with, or that are not those it was finished with."""
        planned, found = self.config["data"], self.dataset.identity
        if found != planned and (found or data.stem.endswith(planned[: provenance.ID])):
            raise UserError(f"{data}: prepared from other settings than {self.folder}/config.json names")
        if (self.folder / "env.json").exists():
            trained = provenance.read_training(self.folder)
            if trained["dataset"]["content_hash"] != self.dataset.content_hash:
                raise UserError(f"{self.folder}: finished on other images than {data} holds (structgan rm deletes it)")

    def save(self) -> None:
        """Check the state and write it; the old one stays as it is if a check or the write fails."""
        self.history.means(self.step)
        monitor.check_weights(self.method, self.folder, self.step)
        monitor.check_collapse(self.method, self.dataset.training_images, self.folder, self.step)
        self.environment.update(self.step, self.seconds)
        loop = {
            "step": self.step,
            "seconds": self.seconds,
            "gflops_per_step": self.flops.gflops,
            "history": self.history.state(),
            "submissions": self.environment.entries(),
            "order": self.batches.order,
            "rng_batches": self.batches.rng.get_state(),
            "rng_method": self.method.rng.get_state(),
            "rng_process": checkpoint.random_state(self.device),
            "online_probe": self.probe and self.probe.state(),
        }
        if distributed.rank() == 0:
            self.states.save(self.method, loop)
        distributed.barrier()  # no process leaves while the state is being written: torchrun would end the writer

    def resume(self) -> None:
        """Go on from the newest whole state of this run, if there is one."""
        state = self.states.find()
        if state is None:
            return
        loop = checkpoint.apply(state, self.method)
        self.step, self.seconds, self.flops.gflops = loop["step"], loop["seconds"], loop["gflops_per_step"]
        self.history.restore(loop["history"], self.device)
        self.environment.resume(loop["submissions"], self.step, self.seconds)
        self.batches.order = loop["order"]
        self.batches.rng.set_state(loop["rng_batches"])
        self.method.rng.set_state(loop["rng_method"])
        checkpoint.set_random_state(loop["rng_process"], self.device)
        if self.probe:
            self.probe.restore(loop["online_probe"])
        if distributed.rank() == 0:
            print(f"resumed at step {self.step}", file=sys.stderr)

    def fit(self, stop: Callable[[], int] = lambda: 0, beat: Callable[[int, float], None] = lambda *_: None) -> None:
        """Train up to the planned number of steps, logging and saving as configured.

        Args:
            stop: the number of a signal that asked for the end, or 0; asked after each step.
            beat: told the step and the seconds of training after each step.

        Raises:
            UserError: training went wrong, or the disk is full.
            Stopped: a signal asked for the end; the state is saved.
        """
        steps = self.training["steps"]
        title = "/".join(str(self.config[name]) for name in ("dataset", "method", "augmentation", "variant", "seed"))
        self.method.train()
        begin = time.monotonic() - self.seconds
        with Progress(title, steps, done=self.step, quiet=distributed.rank() > 0) as progress:
            while self.step < steps:
                self.update()
                if self.step in self.curve.steps:
                    begin += self.curve.measure(self.history, self.step, begin)
                self.seconds = time.monotonic() - begin
                last = self.step == steps
                progress.advance(1, **(self.log() if last or self.step % self.training["log_every"] == 0 else {}))
                beat(self.step, self.seconds)
                number = 0 if last else distributed.all_reduce_max(stop())
                if number or last or self.step % self.training["save_every"] == 0:
                    self.save()
                if number:
                    raise Stopped(f"{signal.Signals(number).name}: saved at step {self.step} of {steps}")

    def update(self) -> None:
        """One step of the method on the next batch; its losses are kept for the next log."""
        self.method.step_index = self.step
        views, labels = next(self.batches)
        watched = self.probe.update(views[0], labels) if self.probe and labels is not None else {}
        try:
            with precision.autocast(self.training["precision"], self.device), self.flops.watch(self.step):
                losses = self.method.step(views, labels if self.method.uses_labels else None)
        except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]  # weights or features have diverged
            if distributed.size() == 1:  # the losses of other processes cannot be asked for: they may not have failed
                self.history.means(self.step)
            reason = str(error).splitlines()[0]
            raise UserError(f"{self.folder}: step {self.step + 1} failed ({reason}); {monitor.KEPT}") from error
        self.history.pending.append(losses | watched)
        self.step += 1

    def log(self) -> dict[str, float]:
        """Record the mean losses since the last log and return them."""
        scores = self.probe.due(self.step, self.history.last, self.training["steps"]) if self.probe else {}
        losses = self.history.record(self.step, scores)
        monitor.check_collapse(self.method, self.dataset.training_images, self.folder, self.step)
        return losses

    def publish(self) -> None:
        """Write the run's outputs; the encoder is the last but one, env.json marks the run as finished."""
        identity, images = self.config["identity"], self.step * self.training["batch_size"]
        metadata = {"identity": identity, "content_hash": self.dataset.content_hash}
        metadata["num_classes"] = str(len(self.dataset.classes))
        networks = method.published_files(self.folder, self.config["method"])
        write_json(self.folder / "history.json", {"records": self.history.records, "curve": self.history.curve})
        for path in networks:
            save_tensors(path, self.method.network(path.stem).state_dict(), metadata)
        record = {
            "identity": identity,
            "dataset": {"name": self.dataset.name, "content_hash": self.dataset.content_hash},
            **({"upstream": self.upstream.record} if self.upstream else {}),
            "seconds": self.seconds,
            "steps": self.step,
            "images": images,
            "images_per_second": images / self.seconds if self.seconds else None,
            "parameters": sum(weight.numel() for weight in self.method.parameters() if weight.requires_grad),
            "gflops_per_step": self.flops.gflops,
            "gflops": self.step * self.flops.gflops,
            "curve_seconds": self.history.curve_seconds,
            **self.environment.summary(),
        }
        provenance.write_sealed(self.folder / "env.json", record, made=[self.folder / "history.json", *networks])


def run(folder: Path, data: Path, device: str = "cpu", minutes: float | None = None) -> None:
    """Train the run of a folder to its end, going on where it stopped; one process at a time.

    The final state stays: a run whose outputs were lost publishes them again in seconds. ``minutes`` of training,
    counted from the first step, end it as a signal would: at least one step is done.

    Raises:
        UserError: bad settings, bad data, an upstream run that is missing or not as planned, a loss that is not
            finite, collapsed features, a full disk, or another process that trains this run.
        Stopped: a signal asked for the end; where training had begun, the state is saved.
    """
    if device == "cpu":
        environment.keep_memory()
    precision.full_products()
    config = provenance.read_config(folder)
    insist = distributed.launched() == 1  # torchrun passes on a signal that the scheduler has sent to all processes
    with (
        Preemption(insist) as preemption,
        distributed.group(device) as own,
        exclusively(folder, config, device) if distributed.rank() == 0 else nullcontext(lambda *_: None) as beat,
        distributed.catch_peer_failure(),
    ):
        distributed.barrier()
        job = Run(folder, data, own)
        job.resume()
        distributed.agree(job.step, f"{folder}: the step of the state that was found")
        preemption.defer(None if minutes is None else 60 * minutes)
        beat(job.step, job.seconds)
        job.fit(lambda: preemption.received or 0, beat)
        beat(job.step, job.seconds)
        if distributed.rank() == 0:
            job.publish()


@contextmanager
def exclusively(folder: Path, config: dict[str, Any], device: str) -> Iterator[Callable[[int, float], None]]:
    """Hold a run's lock, remove what a killed process left half-written, and yield what reports progress."""
    gpus = distributed.size() * device.startswith("cuda")
    with heartbeat.lock(folder), heartbeat.report(folder, config, device, gpus) as beat:
        sweep(folder, [*WRITES, *(path.name for path in method.published_files(folder, config["method"]))])
        yield beat
