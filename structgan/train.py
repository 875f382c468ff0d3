"""The training loop, the only one; it knows no method by name.

The whole data set lies on the device as uint8; a batch is an index, an augmentation of the whole batch at once and one
call of the method's ``step``. All randomness comes from generators that the state holds, so that a resumed run goes on
exactly.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from structgan import augment, checkpoint, environment, method, parallel, sources
from structgan.datasets import Dataset, load
from structgan.errors import UserError
from structgan.files import read_json, save_tensors, write_json
from structgan.progress import Progress

COLLAPSED = 1e-5


class Batches:
    """An endless shuffled order over a data set, whole batches only, augmented on the device.

    Args:
        dataset: images and labels on the device.
        batch_size: images a batch, of which each process takes its part.
        transform: the augmentation regime.
        views: augmented versions of each image.
        rng: source of the order and of the augmentation's parameters.

    Raises:
        UserError: the batch is larger than the data set, or its parts are not of one size.
    """

    def __init__(
        self, dataset: Dataset, batch_size: int, transform: augment.Augment, views: int, rng: torch.Generator
    ) -> None:
        self.images, self.labels = dataset.training_images, dataset.training_labels
        if batch_size > len(self.images):
            raise UserError(
                f"training.batch_size = {batch_size}: larger than the {len(self.images)} images of '{dataset.name}'"
            )
        parallel.split(batch_size)
        self.batch_size, self.transform, self.views, self.rng = batch_size, transform, views, rng
        self.order = torch.empty(0, dtype=torch.long)

    def __next__(self) -> tuple[list[Tensor], Tensor | None]:
        if len(self.order) < self.batch_size:
            self.order = torch.randperm(len(self.images), generator=self.rng)
        rows, self.order = self.order[: self.batch_size], self.order[self.batch_size :]
        rows = parallel.share(rows).to(self.images.device)
        images = self.images[rows]
        views = [self.transform(images, self.rng) for _ in range(self.views)]
        return views, None if self.labels is None else self.labels[rows]


class Run:
    """One run folder being trained: its method, data, generators, history and state file."""

    def __init__(self, folder: Path, data: Path, device: str) -> None:
        self.folder, self.device = folder, device
        self.config = read_json(folder / "config.json")
        self.settings = self.config["settings"]
        self.training = self.settings["training"]
        if self.config["sources"] != sources.run_digest(self.config["method"]):
            raise UserError(f"{folder}/config.json: planned for other sources than these; plan again")
        seeds = np.random.SeedSequence(self.config["seed"]).generate_state(3).tolist()  # weights, order, latents
        torch.manual_seed(seeds[0])
        self.dataset = load(data, device, verify=True)
        self.method = method.build(self.config, len(self.dataset.classes)).to(device)
        if self.method.uses_labels and self.dataset.training_labels is None:
            raise UserError(f"methods.{self.config['method']}: uses labels, which '{self.dataset.name}' has none of")
        parallel.join(self.method, self.method.optimisers())
        self.method.rng = torch.Generator(device).manual_seed(seeds[2])
        order = torch.Generator().manual_seed(seeds[1])
        transform = augment.build(self.settings["augmentation"], self.dataset.image_size)
        self.batches = Batches(self.dataset, self.training["batch_size"], transform, self.method.views, order)
        self.step, self.seconds = 0, 0.0
        self.records: list[dict[str, Any]] = []
        self.environment = self.describe()

    def describe(self) -> dict[str, Any]:
        """Where this process runs, and on how many the run is."""
        return {**environment.describe(self.device), "processes": parallel.size()}

    @property
    def state_file(self) -> Path:
        return self.folder / "state.safetensors"

    def save(self) -> None:
        """Write the state file; the one before stays until the new one is whole.

        Raises:
            UserError: a network holds a number that is not finite, which no later step could mend.
        """
        for name, value in self.method.state_dict().items():
            if value.is_floating_point() and not value.isfinite().all():
                raise UserError(
                    f"{self.folder}: the weights '{name}' are no longer finite after step {self.step}; stopped, "
                    f"the last good state is kept in {self.state_file.name}"
                )
        loop = {
            "step": self.step,
            "seconds": self.seconds,
            "records": self.records,
            "content_hash": self.dataset.content_hash,
            "environment": self.environment,
            "order": self.batches.order,
            "rng_batches": self.batches.rng.get_state(),
            "rng_method": self.method.rng.get_state(),
            "rng_torch": torch.get_rng_state(),
        }
        if parallel.rank() == 0:
            checkpoint.save(self.state_file, self.config["identity"], self.method, loop)

    def resume(self) -> None:
        """Go on from the state file, where there is one of this identity and of these images; else start afresh."""
        if not self.state_file.exists():
            return
        try:
            loop = checkpoint.load(self.state_file, self.config["identity"], self.dataset.content_hash, self.method)
        except UserError as error:
            print(f"starting afresh: {error}", file=sys.stderr)
            return
        if loop["step"] == self.training["steps"]:  # nothing is left to train: the run keeps its own provenance
            self.environment = loop["environment"]
        self.step, self.seconds, self.records = loop["step"], loop["seconds"], loop["records"]
        self.batches.order = loop["order"]
        self.batches.rng.set_state(loop["rng_batches"])
        self.method.rng.set_state(loop["rng_method"])
        torch.set_rng_state(loop["rng_torch"])
        if parallel.rank() == 0:
            print(f"resumed at step {self.step}", file=sys.stderr)

    def fit(self) -> None:
        """Train up to the planned number of steps, logging and saving as configured."""
        steps, every = self.training["steps"], self.training["log_every"]
        probe_images = self.dataset.training_images[: min(64, len(self.dataset.training_images))]
        pending: list[dict[str, Tensor]] = []
        title = "/".join(str(self.config[name]) for name in ("dataset", "method", "augmentation", "variant", "seed"))
        self.method.train()
        begin, before = time.monotonic(), self.seconds
        with Progress(title, steps, done=self.step, quiet=parallel.rank() > 0) as progress:
            while self.step < steps:
                self.method.step_index = self.step
                views, labels = next(self.batches)
                try:
                    pending.append(self.method.step(views, labels if self.method.uses_labels else None))
                except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
                    if pending:
                        self.check(pending)
                    raise UserError(
                        f"{self.folder}: step {self.step + 1} failed ({str(error).splitlines()[0]}); stopped, "
                        f"the last good state is kept in {self.state_file.name}"
                    ) from error
                self.step += 1
                if self.step % every and self.step < steps:
                    progress.advance()
                    continue
                self.seconds = before + time.monotonic() - begin
                losses = self.check(pending)
                pending = []
                self.check_collapse(probe_images)
                images = self.step * self.training["batch_size"]
                self.records.append({"step": self.step, "images": images, "seconds": self.seconds, "losses": losses})
                self.environment = self.describe() if self.step == steps else self.environment
                progress.advance(1, **losses)
                if self.step % self.training["save_every"] < every or self.step == steps:
                    self.save()

    def check(self, pending: list[dict[str, Tensor]]) -> dict[str, float]:
        """Mean of each loss since the last log.

        Raises:
            UserError: a loss is not finite; the message says which one, at which step. The state file stays as it was.
        """
        means: dict[str, float] = {}
        for name in pending[0]:
            values = parallel.mean(torch.stack([losses[name] for losses in pending]).double()).cpu()
            bad = (~values.isfinite()).nonzero()
            if len(bad):
                step = self.step - len(pending) + 1 + int(bad[0])
                raise UserError(
                    f"{self.folder}: loss '{name}' is {float(values[bad[0]])} at step {step}; stopped, "
                    f"the last good state is kept in {self.state_file.name}"
                )
            means[name] = float(values.mean())
        return means

    @torch.no_grad()
    def check_collapse(self, images: Tensor) -> None:
        """Stop where the encoder gives every image the same features.

        Raises:
            UserError: the features' spread is below ``COLLAPSED`` of their length.
        """
        self.method.eval()
        features = self.method.encode(images.float() / 127.5 - 1).float()
        self.method.train()
        spread = parallel.mean(features.std(0).norm() / features.norm(dim=1).mean().clamp_min(1e-12))
        if not float(spread) > COLLAPSED:
            raise UserError(
                f"{self.folder}: the features collapsed at step {self.step} (spread {float(spread):.1e}); stopped, "
                f"the last good state is kept in {self.state_file.name}"
            )

    def publish(self) -> None:
        """Write the run's outputs; the encoder is the last but one, env.json marks the run as finished."""
        metadata = {
            "identity": self.config["identity"],
            "content_hash": self.dataset.content_hash,
            "num_classes": str(len(self.dataset.classes)),
        }
        if sources.traits(self.config["method"])["samples"]:
            save_tensors(self.folder / "generator.safetensors", self.method.generator.state_dict(), metadata)
        write_json(self.folder / "history.json", {"records": self.records})
        save_tensors(self.folder / "encoder.safetensors", self.method.encoder.state_dict(), metadata)
        images = self.step * self.training["batch_size"]
        write_json(
            self.folder / "env.json",
            {
                "identity": self.config["identity"],
                "dataset": {"name": self.dataset.name, "content_hash": self.dataset.content_hash},
                "seconds": self.seconds,
                "steps": self.step,
                "images": images,
                "images_per_second": images / self.seconds if self.seconds else None,
                **self.environment,
            },
        )


def run(folder: Path, data: Path, device: str = "cpu") -> None:
    """Train the run of a folder to its end, going on where it stopped.

    The final state stays: a run that is triggered again under the same identity publishes from it in seconds.

    Raises:
        UserError: bad settings, bad data, a loss that is not finite, collapsed features, or a full disk.
    """
    environment.tune(device)
    with parallel.group(device) as own:
        job = Run(folder, data, own)
        job.resume()
        job.fit()
        if parallel.rank() == 0:
            job.publish()
