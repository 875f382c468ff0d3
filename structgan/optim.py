"""Optimizers and learning-rate schedules by name, as a method's settings give them."""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from structgan.errors import unknown

NAMES = ("adam", "adamw", "lars", "sgd")


def build(parameters: Iterable[nn.Parameter], settings: Mapping[str, Any]) -> torch.optim.Optimizer:
    """An optimizer from its settings: ``name``, ``lr``, ``weight_decay``; ``betas`` of the Adams, ``momentum`` of the
    others, ``trust`` of lars.

    Raises:
        UserError: the name is unknown.
    """
    name, lr, decay = settings["name"], settings["lr"], settings["weight_decay"]
    if name not in NAMES:
        raise unknown("optimizer", name, NAMES, "methods.*.settings.optimizer.name")
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD, "lars": LARS}[name]
    options = {"trust": settings["trust"]} if name == "lars" else {"fused": True}
    rates = {"betas": tuple(settings["betas"])} if name.startswith("adam") else {"momentum": settings["momentum"]}
    return uncompiled(kind)(parameters, lr=lr, weight_decay=decay, **rates, **options)


def uncompiled(kind: type[torch.optim.Optimizer]) -> Callable[..., torch.optim.Optimizer]:
    """An optimizer whose methods don't import PyTorch's compiler, a third of the start of a job."""
    names = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")
    methods = {name: inspect.unwrap(getattr(kind, name)) for name in names}
    return type(kind.__name__, (kind,), methods | {"step": torch.no_grad()(inspect.unwrap(kind.step))})


class LARS(torch.optim.Optimizer):
    """SGD with momentum and a largest rate for each weight (You et al. 2017, arXiv 1708.03888, Eq. 6).

    With gradient g, weight w of two or more dimensions, weight decay b, and norms over that weight:
    r = min(1, trust |w| / (|g| + b |w|) / lr), v = momentum v + r (g + b w), w = w - lr v. Vectors, which are biases
    and gains of norms, have r = 1 and b = 0. lightly's LARS lacks the minimum that solo-learn's CIFAR settings need.
    """

    def __init__(self, params: Iterable[nn.Parameter], **settings: float) -> None:
        super().__init__(params, settings)

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
    def _layerwise(weight: Tensor, grad: Tensor, group: dict[str, Any]) -> Tensor:
        decay, length, slope = group["weight_decay"], weight.norm(), grad.norm()
        rate = group["trust"] * length / (slope + decay * length + 1e-8)
        ratio = (rate / max(group["lr"], 1e-12)).clamp(max=1)
        ratio = torch.where((length > 0) & (slope > 0), ratio, 1)
        return grad.add(weight, alpha=decay).mul_(ratio)


def gradients(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """Replace the gradients of an optimizer's parameters by those of a scalar loss; other parameters get none.

    The backward pass leaves the autocast of a step: each operation keeps the precision of its forward pass.
    """
    optimizer.zero_grad(set_to_none=True)
    parameters = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
    with torch.autocast(loss.device.type, enabled=False):
        loss.backward(inputs=parameters)  # type: ignore[no-untyped-call]


def minimize(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
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
