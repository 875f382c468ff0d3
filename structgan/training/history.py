"""The losses of a training: a record for each log, the losses since the last one, and times.

Records are a function of the seed alone and go to history.json; times differ from run to run and go to env.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from structgan import distributed
from structgan.errors import UserError
from structgan.training.health import KEPT

PACE_POINTS = 200


class History:
    """The history of one run.

    Args:
        run: the run's folder, for messages.
        batch_size: images a step.

    Attributes:
        records: step, images and mean losses of each log.
        pace: step and seconds of each log.
        pending: the losses of each step since the last log, scalars by name, of this process's part of the batch.
    """

    def __init__(self, run: object, batch_size: int) -> None:
        self.run, self.batch_size = run, batch_size
        self.records: list[dict[str, Any]] = []
        self.pace: list[list[float]] = []
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

    def record(self, step: int, seconds: float, scores: Mapping[str, float]) -> dict[str, float]:
        """Turn what is pending into a record of ``step`` and return its losses.

        Args:
            step: the last one that is pending.
            seconds: of training until then.
            scores: further numbers of this step alone, by name.

        Raises:
            UserError: a loss is not finite.
        """
        losses = self.means(step) | dict(scores)
        self.pending = []
        self.records.append({"step": step, "images": step * self.batch_size, "losses": losses})
        self.pace.append([step, round(seconds, 3)])
        return losses

    def thin_pace(self) -> list[list[float]]:
        """At most ``PACE_POINTS`` of the pace, evenly."""
        stride = -(-len(self.pace) // PACE_POINTS)
        return self.pace[:: max(1, stride)]

    def state(self) -> dict[str, Any]:
        """All of it, for the state file; what is pending as means over the processes, so that any number can go on."""
        pending = self.pending
        if distributed.size() > 1:
            pending = [{name: distributed.mean(loss.double()) for name, loss in losses.items()} for losses in pending]
        return {"records": self.records, "pace": self.pace, "pending": pending}

    def restore(self, saved: dict[str, Any], device: str) -> None:
        """Put back what ``state`` gave."""
        self.records, self.pace = saved["records"], saved["pace"]
        self.pending = [{name: loss.to(device) for name, loss in losses.items()} for losses in saved["pending"]]
