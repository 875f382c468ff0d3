"""The training loop, one for all methods.

The whole data set lies on the device as uint8; a batch is an index, an augmentation of the whole batch at once and one
call of the method's ``step``. All randomness comes from generators that the state holds, and the losses since the last
record are in it too, so that a resumed run goes on exactly, at any step. On a CPU it ends with the bytes of an
uninterrupted run; CUDA's sums are not repeatable to the last bit, interrupted or not.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from pathlib import Path

import numpy as np
import torch

from structgan import augment, distributed, environment, method, precision, provenance, sources
from structgan.datasets import load
from structgan.errors import UserError
from structgan.files import save_tensors, sweep, write_json
from structgan.progress import Progress
from structgan.training import checkpoint, health, lock, online_probe, processes, randomness, upstream
from structgan.training.batches import Batches
from structgan.training.heartbeat import Heartbeat
from structgan.training.history import History
from structgan.training.preempt import Preemption, Stopped

WRITES = (checkpoint.NEWEST, "history.json", "env.json", "progress.json")
"""Files of a run's folder that training writes, besides its networks."""


class Run:
    """One run folder being trained: its method, data, generators, history and states."""

    def __init__(self, folder: Path, data: Path, device: str) -> None:
        self.folder, self.device = folder, device
        self.config = provenance.read_config(folder)
        self.settings = self.config["settings"]
        self.training = self.settings["training"]
        if self.config["sources"] != sources.run_digest(self.config["method"]):
            raise UserError(f"{folder}/config.json: planned for other sources than these; plan again")
        seeds = np.random.SeedSequence(self.config["seed"]).generate_state(4).tolist()  # weights, order, latents, probe
        randomness.seed(seeds[0])
        self.dataset = load(data, device, verify=True)
        self.check_images(data)
        self.method = method.build(self.config, len(self.dataset.classes)).to(device)
        self.upstream = upstream.load(folder, self.config, self.dataset.content_hash, device)
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
        made_with = self.upstream.record["files"] if self.upstream else {}
        self.states = checkpoint.States(folder, self.config["identity"], self.dataset.content_hash, made_with)
        self.probe = online_probe.begin(self.method, self.dataset, self.training, device, seeds[3])
        self.step, self.seconds = 0, 0.0
        self.history = History(folder, self.training["batch_size"])
        self.environment = environment.Record(device, self.training["precision"])

    def check_images(self, data: Path) -> None:
        """Refuse images that the run was not planned with, or that are not those it was finished with.

        Raises:
            UserError: they are others; nothing is trained or overwritten.
        """
        planned, found = self.config["data"], self.dataset.identity
        if found != planned and (found or data.stem.endswith(planned[: provenance.ID])):
            raise UserError(f"{data}: prepared from other settings than {self.folder}/config.json names")
        if (self.folder / "env.json").exists():
            trained = provenance.read_training(self.folder)
            if trained["dataset"]["content_hash"] != self.dataset.content_hash:
                raise UserError(f"{self.folder}: finished on other images than {data} holds (structgan rm deletes it)")

    def save(self) -> None:
        """Check the state and write it; the previous one is kept beside it.

        Raises:
            UserError: a loss or a weight is not finite, the features collapsed, or the disk is full; the states stay as
                they were.
        """
        self.history.means(self.step)
        health.check_weights(self.method, self.folder, self.step)
        health.check_collapse(self.method, self.dataset.training_images, self.folder, self.step)
        self.environment.update(self.step, self.seconds)
        loop = {
            "step": self.step,
            "seconds": self.seconds,
            "history": self.history.state(),
            "submissions": self.environment.entries(),
            "order": self.batches.order,
            "rng_batches": self.batches.rng.get_state(),
            "rng_method": self.method.rng.get_state(),
            "rng_process": randomness.state(self.device),
            "online_probe": self.probe.state() if self.probe else None,
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
        self.step, self.seconds = loop["step"], loop["seconds"]
        self.history.restore(loop["history"], self.device)
        self.environment.resume(loop["submissions"], self.step, self.seconds)
        self.batches.order = loop["order"]
        self.batches.rng.set_state(loop["rng_batches"])
        self.method.rng.set_state(loop["rng_method"])
        randomness.restore(loop["rng_process"], self.device)
        if self.probe:
            self.probe.restore(loop["online_probe"])
        if distributed.rank() == 0:
            print(f"resumed at step {self.step}", file=sys.stderr)

    def fit(self, preemption: Preemption | None = None, heartbeat: Heartbeat | None = None) -> None:
        """Train up to the planned number of steps, logging and saving as configured.

        Raises:
            UserError: training went wrong, or the disk is full.
            Stopped: a signal asked for the end; the state is saved.
        """
        steps = self.training["steps"]
        title = "/".join(str(self.config[name]) for name in ("dataset", "method", "augmentation", "variant", "seed"))
        self.method.train()
        begin, before = time.monotonic(), self.seconds
        with Progress(title, steps, done=self.step, quiet=distributed.rank() > 0) as progress:
            while self.step < steps:
                self.update()
                self.seconds = before + time.monotonic() - begin
                last = self.step == steps
                progress.advance(1, **(self.log() if last or self.step % self.training["log_every"] == 0 else {}))
                if heartbeat:
                    heartbeat.beat(self.step, self.seconds)
                stop = distributed.all_reduce_max(preemption.received or 0) if preemption and not last else 0
                if stop or last or self.step % self.training["save_every"] == 0:
                    self.save()
                if stop:
                    raise Stopped(f"{signal.Signals(stop).name}: saved at step {self.step} of {steps}")

    def update(self) -> None:
        """One step of the method on the next batch; its losses are kept for the next log.

        Raises:
            UserError: a factorisation failed, because weights or features have diverged.
        """
        self.method.step_index = self.step
        views, labels = next(self.batches)
        watched = self.probe.update(views[0], labels) if self.probe and labels is not None else {}
        try:
            with precision.autocast(self.training["precision"], self.device):
                losses = self.method.step(views, labels if self.method.uses_labels else None)
        except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
            if distributed.size() == 1:  # the losses of other processes cannot be asked for: they may not have failed
                self.history.means(self.step)
            reason = str(error).splitlines()[0]
            raise UserError(f"{self.folder}: step {self.step + 1} failed ({reason}); {health.KEPT}") from error
        self.history.pending.append(losses | watched)
        self.step += 1

    def log(self) -> dict[str, float]:
        """Record the mean losses since the last log and return them.

        Raises:
            UserError: a loss is not finite, or the features collapsed.
        """
        scores = self.probe.due(self.step, self.history.last, self.training["steps"]) if self.probe else {}
        losses = self.history.record(self.step, self.seconds, scores)
        health.check_collapse(self.method, self.dataset.training_images, self.folder, self.step)
        return losses

    def publish(self) -> None:
        """Write the run's outputs; the encoder is the last but one, env.json marks the run as finished."""
        metadata = {
            "identity": self.config["identity"],
            "content_hash": self.dataset.content_hash,
            "num_classes": str(len(self.dataset.classes)),
        }
        networks = method.published_files(self.folder, self.config["method"])
        write_json(self.folder / "history.json", {"records": self.history.records})
        for path in networks:
            save_tensors(path, self.method.network(path.stem).state_dict(), metadata)
        images = self.step * self.training["batch_size"]
        provenance.write_sealed(
            self.folder / "env.json",
            {
                "identity": self.config["identity"],
                "dataset": {"name": self.dataset.name, "content_hash": self.dataset.content_hash},
                **({"upstream": self.upstream.record} if self.upstream else {}),
                "seconds": self.seconds,
                "steps": self.step,
                "images": images,
                "images_per_second": images / self.seconds if self.seconds else None,
                "parameters": sum(weight.numel() for weight in self.method.parameters() if weight.requires_grad),
                "pace": self.history.thin_pace(),
                **self.environment.summary(),
            },
            made=[self.folder / "history.json", *networks],
        )


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
        contextlib.ExitStack() as first,
        distributed.catch_peer_failure(),
    ):
        heartbeat = None
        if distributed.rank() == 0:
            first.enter_context(lock.held(folder))
            gpus = distributed.size() * device.startswith("cuda")
            heartbeat = first.enter_context(Heartbeat(folder, config, device, gpus))
            sweep(folder, [*WRITES, *(path.name for path in method.published_files(folder, config["method"]))])
        distributed.barrier()
        job = Run(folder, data, own)
        job.resume()
        distributed.agree(job.step, f"{folder}: the step of the state that was found")
        preemption.defer(None if minutes is None else 60 * minutes)
        if heartbeat:
            heartbeat.beat(job.step, job.seconds)
        job.fit(preemption, heartbeat)
        if heartbeat:
            heartbeat.beat(job.step, job.seconds)
            job.publish()
