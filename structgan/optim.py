"""Optimizers and learning-rate schedules by name, so that a method's settings say which and a table can show it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from structgan.errors import unknown
from structgan.lars import LARS

OptimizERS = ("adam", "adamw", "lars", "sgd")


def build(parameters: Iterable[nn.Parameter], settings: Mapping[str, Any]) -> torch.optim.Optimizer:
    """An optimizer from its settings.

    Args:
        parameters: what it updates.
        settings: ``name`` (adam, adamw, lars or sgd), ``lr``, ``weight_decay``, and for the Adams ``betas``, for the
            others ``momentum``, for lars also ``trust``.

    Raises:
        UserError: the name is unknown.
    """
    params = list(parameters)
    name, lr, decay = settings["name"], settings["lr"], settings["weight_decay"]
    if name == "sgd":
        return torch.optim.SGD(params, lr=lr, momentum=settings["momentum"], weight_decay=decay, fused=True)
    if name == "lars":
        return LARS(params, lr=lr, momentum=settings["momentum"], weight_decay=decay, trust=settings["trust"])
    if name not in OptimizERS:
        raise unknown("optimizer", name, OptimizERS, "methods.*.settings.optimizer.name")
    kind = torch.optim.AdamW if name == "adamw" else torch.optim.Adam
    return kind(params, lr=lr, betas=tuple(settings["betas"]), weight_decay=decay, fused=True)


def gradients(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """Put the gradients of a scalar loss into an optimizer's parameters, in place of those before.

    The backward pass leaves the autocast of a step: it takes the precision of each operation's forward, and what was
    computed in float32 keeps float32 in its gradient. Other parameters get no gradient.
    """
    optimizer.zero_grad(set_to_none=True)
    parameters = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
    with torch.autocast(loss.device.type, enabled=False):
        loss.backward(inputs=parameters)  # type: ignore[no-untyped-call]


def minimise(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """One update of an optimizer's parameters by the gradients of a scalar loss."""
    gradients(optimizer, loss)
    optimizer.step()


def schedule(optimizer: torch.optim.Optimizer, settings: Mapping[str, Any], step: int, steps: int) -> None:
    """Set the learning rate for update number ``step`` of ``steps``: linear warm-up, then constant or cosine to 0.

    A pure function of the step, so that a resumed run needs no scheduler state.
    """
    warmup = settings["warmup_fraction"] * steps
    factor = min(1.0, (step + 1) / warmup) if warmup else 1.0
    if settings["schedule"] == "cosine":
        factor *= 0.5 * (1 + math.cos(math.pi * max(0.0, (step - warmup) / max(1.0, steps - warmup))))
    for group in optimizer.param_groups:
        group["lr"] = settings["lr"] * factor
