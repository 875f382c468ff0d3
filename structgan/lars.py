"""LARS with a clipped rate.

lightly's LARS has no clipping, without which the rates of solo-learn's CIFAR configurations mean something else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn


class LARS(torch.optim.Optimizer):
    """SGD with momentum that moves each weight at its own rate at most (You et al. 2017, arXiv 1708.03888, Eq. 6).

    With gradient g, weight w of two or more dimensions and decay b, all norms over the one weight:
    r = min(1, trust |w| / (|g| + b |w|) / lr), v = momentum v + r (g + b w), w = w - lr v. Vectors, which are biases
    and the gains of norms, have r = 1 and b = 0.
    """

    def __init__(
        self, params: Iterable[nn.Parameter], lr: float, momentum: float, weight_decay: float, trust: float
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update; parameters without a gradient stay. ``closure`` is not used."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                change = weight.grad if weight.ndim == 1 else self._layerwise(weight, weight.grad, group)
                state = self.state[weight]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(weight)
                velocity = state["momentum_buffer"].mul_(group["momentum"]).add_(change)
                weight.add_(velocity, alpha=-group["lr"])

    @staticmethod
    def _layerwise(weight: torch.Tensor, grad: torch.Tensor, group: dict[str, Any]) -> torch.Tensor:
        decay = group["weight_decay"]
        length, slope = weight.norm(), grad.norm()
        rate = group["trust"] * length / (slope + decay * length + 1e-8)
        ratio = (rate / max(group["lr"], 1e-12)).clamp(max=1)
        ratio = torch.where((length > 0) & (slope > 0), ratio, 1)
        return grad.add(weight, alpha=decay).mul_(ratio)
