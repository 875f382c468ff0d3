"""What is watched while a run trains: its losses, and whether weights are finite and features differ between images."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from structgan import distributed
from structgan.errors import UserError
from structgan.method import Method

COLLAPSED = 1e-5
IMAGES = 64
"""How many images' features are compared."""
KEPT = "stopped, the last good state is kept in state.safetensors, where one was saved"


def check_weights(method: Method, run: object, step: int) -> None:
    """Raise ``UserError``, before a broken state is written, if a network holds a number that is not finite."""
    for name, value in method.state_dict().items():
        if value.is_floating_point() and not value.isfinite().all():
            raise UserError(f"{run}: the weights '{name}' are no longer finite after step {step}; {KEPT}")


@torch.no_grad()
def check_collapse(method: Method, images: Tensor, run: object, step: int) -> None:
    """Raise ``UserError`` if the first images are all alike in one of the method's ``collapse_vectors``.

    They are if the spread of the vectors is below ``COLLAPSED`` of their length. Shape: (N, 3, H, W), uint8.
    """
    method.eval()
    found = method.collapse_vectors(images[:IMAGES].float() / 127.5 - 1)
    method.train()
    for name, vectors in found.items():
        vectors = vectors.float()
        spread = float(distributed.mean(vectors.std(0).norm() / vectors.norm(dim=1).mean().clamp_min(1e-12)))
        if not spread > COLLAPSED:
            raise UserError(f"{run}: the {name} collapsed at step {step} (spread {spread:.1e}); {KEPT}")


class History:
    """The losses of one run, recorded at each log.

    Records and curve are a function of the seed alone and go to history.json; times differ from run to run and go to
    env.json.

    Attributes:
        records: step, images and mean losses of each log.
        curve: step, images and top-1 in [0, 1] of each probe of the learning curve.
        curve_seconds: of training, at each of them.
        pending: the losses of each step since the last log, scalars by name, of this process's part of the batch.
    """

    def __init__(self, run: object, batch_size: int) -> None:
        self.run, self.batch_size = run, batch_size
        self.records: list[dict[str, Any]] = []
        self.curve: list[dict[str, Any]] = []
        self.curve_seconds: list[float] = []
        self.pending: list[dict[str, Tensor]] = []

    @property
    def last(self) -> int:
        """The step of the last record, or 0."""
        return int(self.records[-1]["step"]) if self.records else 0

    def means(self, step: int) -> dict[str, float]:
        """Mean of each pending loss, the last of which is of step number ``step``.

        Raises:
            UserError: a loss is not finite; the message says which one, at which step.
        """
        found: dict[str, float] = {}
        for name in self.pending[0] if self.pending else ():
            values = distributed.mean(torch.stack([losses[name].double() for losses in self.pending])).cpu()
            bad = (~values.isfinite()).nonzero()
            if len(bad):
                first = step - len(self.pending) + 1 + int(bad[0])
                raise UserError(f"{self.run}: loss '{name}' is {float(values[bad[0]])} at step {first}; {KEPT}")
            found[name] = float(values.mean())
        return found

    def record(self, step: int, scores: Mapping[str, float]) -> dict[str, float]:
        """Turn what is pending into a record of ``step``, with ``scores`` of this step alone; return its losses."""
        losses = self.means(step) | dict(scores)
        self.pending = []
        self.records.append({"step": step, "images": step * self.batch_size, "losses": losses})
        return losses

    def add_point(self, step: int, seconds: float, top1: float) -> None:
        """Add a probe to the learning curve."""
        self.curve.append({"step": step, "images": step * self.batch_size, "top1": top1})
        self.curve_seconds.append(seconds)

    def state(self) -> dict[str, Any]:
        """All of it, for the state file; what is pending as means over the processes, so that any number can go on."""
        pending = self.pending
        if distributed.size() > 1:
            pending = [{name: distributed.mean(loss.double()) for name, loss in losses.items()} for losses in pending]
        kept = {name: getattr(self, name) for name in ("records", "curve", "curve_seconds")}
        return {**kept, "pending": pending}

    def restore(self, saved: dict[str, Any], device: str) -> None:
        """Put back what ``state`` gave."""
        self.records, self.curve, self.curve_seconds = (saved[name] for name in ("records", "curve", "curve_seconds"))
        self.pending = [{name: loss.to(device) for name, loss in losses.items()} for losses in saved["pending"]]
