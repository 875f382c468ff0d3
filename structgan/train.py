"""The training loop, the only one; it knows no method by name.

The whole data set lies on the device as uint8; a batch is an index, an augmentation of the whole batch at once and one
call of the method's ``step``. All randomness comes from generators that the state holds, and the losses since the last
record lie in it too, so that a resumed run goes on exactly, whichever step it stopped at.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from structgan import augment, checkpoint, environment, health, lock, method, randomness, seal, sources
from structgan.datasets import Dataset, load
from structgan.errors import UserError
from structgan.files import read_json, save_tensors, sweep, write_json
from structgan.heartbeat import Heartbeat
from structgan.history import History
from structgan.preempt import Preemption, Stopped
from structgan.progress import Progress

WRITES = (
    checkpoint.NEWEST,
    "generator.safetensors",
    "encoder.safetensors",
    "history.json",
    "env.json",
    "progress.json",
)


class Batches:
    """An endless shuffled order over a data set, whole batches only, augmented on the device.

    Args:
        dataset: images and labels on the device.
        batch_size: images a batch.
        transform: the augmentation regime.
        views: augmented versions of each image.
        rng: source of the order and of the augmentation's parameters.

    Raises:
        UserError: the batch is larger than the data set.
    """

    def __init__(
        self, dataset: Dataset, batch_size: int, transform: augment.Augment, views: int, rng: torch.Generator
    ) -> None:
        self.images, self.labels = dataset.training_images, dataset.training_labels
        if batch_size > len(self.images):
            raise UserError(
                f"training.batch_size = {batch_size}: larger than the {len(self.images)} images of '{dataset.name}'"
            )
        self.batch_size, self.transform, self.views, self.rng = batch_size, transform, views, rng
        self.order = torch.empty(0, dtype=torch.long)

    def __next__(self) -> tuple[list[Tensor], Tensor | None]:
        if len(self.order) < self.batch_size:
            self.order = torch.randperm(len(self.images), generator=self.rng)
        rows, self.order = self.order[: self.batch_size], self.order[self.batch_size :]
        rows = rows.to(self.images.device)
        images = self.images[rows]
        views = [self.transform(images, self.rng) for _ in range(self.views)]
        return views, None if self.labels is None else self.labels[rows]


class Run:
    """One run folder being trained: its method, data, generators, history and states."""

    def __init__(self, folder: Path, data: Path, device: str) -> None:
        self.folder, self.device = folder, device
        self.config = read_json(folder / "config.json")
        self.settings = self.config["settings"]
        self.training = self.settings["training"]
        if self.config["sources"] != sources.run_digest(self.config["method"]):
            raise UserError(f"{folder}/config.json: planned for other sources than these; plan again")
        seeds = np.random.SeedSequence(self.config["seed"]).generate_state(3).tolist()  # weights, order, latents
        randomness.seed(seeds[0])
        self.dataset = load(data, device, verify=True)
        self.method = method.build(self.config, len(self.dataset.classes)).to(device)
        if self.method.uses_labels and self.dataset.training_labels is None:
            raise UserError(f"methods.{self.config['method']}: uses labels, which '{self.dataset.name}' has none of")
        self.method.rng = torch.Generator(device).manual_seed(seeds[2])
        order = torch.Generator().manual_seed(seeds[1])
        transform = augment.build(self.settings["augmentation"], self.dataset.image_size)
        self.batches = Batches(self.dataset, self.training["batch_size"], transform, self.method.views, order)
        self.states = checkpoint.States(folder, self.config["identity"], self.dataset.content_hash)
        self.step, self.seconds = 0, 0.0
        self.history = History(folder, self.training["batch_size"])
        self.environment = environment.Record(device)

    def save(self) -> None:
        """Write the state, having looked at all that it holds; the one before stays beside it.

        Raises:
            UserError: a loss or a weight is not finite, or the disk is full; the states stay as they were.
        """
        self.history.means(self.step)
        health.check_weights(self.method, self.folder, self.step)
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
        }
        self.states.save(self.method, loop)

    def resume(self, fresh: bool = False) -> None:
        """Go on from the newest whole state of this identity and these images, where there is one; else start afresh.

        Args:
            fresh: start afresh where the run is finished; an unfinished one goes on, so that the retries of a run that
                is trained again get further.
        """
        state = self.states.find()
        if state is None:
            return
        if fresh and state["loop"]["step"] == self.training["steps"]:
            print("finished, but trained again from the first step, as asked", file=sys.stderr)
            self.states.keep_newest = False
            return
        loop = checkpoint.apply(state, self.method)
        self.step, self.seconds = loop["step"], loop["seconds"]
        self.history.restore(loop["history"], self.device)
        self.environment.resume(loop["submissions"], self.step, self.seconds)
        self.batches.order = loop["order"]
        self.batches.rng.set_state(loop["rng_batches"])
        self.method.rng.set_state(loop["rng_method"])
        randomness.restore(loop["rng_process"], self.device)
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
        with Progress(title, steps, done=self.step) as progress:
            while self.step < steps:
                self.update()
                self.seconds = before + time.monotonic() - begin
                last = self.step == steps
                progress.advance(1, **(self.log() if last or self.step % self.training["log_every"] == 0 else {}))
                if heartbeat:
                    heartbeat.beat(self.step, self.seconds)
                stop = preemption.reason if preemption and not last else ""
                if stop or last or self.step % self.training["save_every"] == 0:
                    self.save()
                if stop:
                    raise Stopped(f"{stop}: saved at step {self.step} of {steps}")

    def update(self) -> None:
        """One step of the method on the next batch; its losses are kept for the next log.

        Raises:
            UserError: a factorisation failed, on weights or features that are no longer of use.
        """
        self.method.step_index = self.step
        views, labels = next(self.batches)
        try:
            self.history.pending.append(self.method.step(views, labels if self.method.uses_labels else None))
        except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
            self.history.means(self.step)
            reason = str(error).splitlines()[0]
            raise UserError(f"{self.folder}: step {self.step + 1} failed ({reason}); {health.KEPT}") from error
        self.step += 1

    def log(self) -> dict[str, float]:
        """Record the mean losses since the last log and return them.

        Raises:
            UserError: a loss is not finite, or the features collapsed.
        """
        losses = self.history.record(self.step, self.seconds)
        images = self.dataset.training_images
        health.check_collapse(self.method, images[: min(64, len(images))], self.folder, self.step)
        return losses

    def publish(self) -> None:
        """Write the run's outputs; the encoder is the last but one, env.json marks the run as finished."""
        metadata = {
            "identity": self.config["identity"],
            "content_hash": self.dataset.content_hash,
            "num_classes": str(len(self.dataset.classes)),
        }
        made = [self.folder / name for name in ("history.json", "encoder.safetensors")]
        if sources.traits(self.config["method"])["samples"]:
            made.append(self.folder / "generator.safetensors")
            save_tensors(made[-1], self.method.generator.state_dict(), metadata)
        write_json(self.folder / "history.json", {"records": self.history.records})
        save_tensors(self.folder / "encoder.safetensors", self.method.encoder.state_dict(), metadata)
        images = self.step * self.training["batch_size"]
        seal.write(
            self.folder / "env.json",
            {
                "identity": self.config["identity"],
                "dataset": {"name": self.dataset.name, "content_hash": self.dataset.content_hash},
                "seconds": self.seconds,
                "steps": self.step,
                "images": images,
                "images_per_second": images / self.seconds if self.seconds else None,
                "pace": self.history.thin_pace(),
                **self.environment.summary(),
            },
            made=made,
        )


def run(folder: Path, data: Path, device: str = "cpu", fresh: bool = False) -> None:
    """Train the run of a folder to its end, going on where it stopped; one process at a time.

    The final state stays: a run that is triggered again under the same identity publishes from it in seconds, unless
    ``fresh`` asks for a finished run to be trained again.

    Raises:
        UserError: bad settings, bad data, a loss that is not finite, collapsed features, a full disk, or another
            process that trains this run.
        Stopped: a signal asked for the end; where training had begun, the state is saved.
    """
    environment.tune(device)
    config = read_json(folder / "config.json")
    gpus = int(device.startswith("cuda"))
    with Preemption() as preemption, lock.held(folder), Heartbeat(folder, config, device, gpus) as heartbeat:
        sweep(folder, WRITES)
        job = Run(folder, data, device)
        job.resume(fresh)
        preemption.defer()
        heartbeat.beat(job.step, job.seconds)
        job.fit(preemption, heartbeat)
        heartbeat.beat(job.step, job.seconds)
        job.publish()
