"""The precision that a training step computes in: float32, or bfloat16 between the convolutions.

Under bfloat16 the training loop wraps a step in ``torch.autocast``: convolutions and the maps between them are
bfloat16. Parameters, optimizer moments, averages, the statistics inside norms, pooled features, embeddings and losses
stay float32; what must not be rounded says so with ``exact`` or ``wide``. A backward pass has the precision of its
forward only outside the context: ``optim.minimize`` leaves it. Evaluation computes in float32; the online probe, a part
of training, has the precision of training.
"""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")
NAMES = ("float32", "bfloat16")


def full_products() -> None:
    """float32 means float32 on a GPU too: no TF32 in its products and convolutions."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def autocast(name: str, device: str) -> torch.autocast:
    """The context of one step on a device such as ``cuda:0``; ``name`` is one of ``NAMES``."""
    return torch.autocast(device.partition(":")[0], dtype=torch.bfloat16, enabled=name == "bfloat16")


def wide(x: Tensor) -> Tensor:
    """``x`` in float32 where it is of half length, else ``x`` itself."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def upsample(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Nearest-neighbor upsampling in the type of ``x``, where CUDA's autocast would take float32.

    Shape: (N, C, H, W) to (N, C, *size); a map that has the size already is returned as it is.
    """
    if tuple(x.shape[2:]) == size:
        return x
    with torch.autocast(x.device.type, enabled=False):
        return F.interpolate(x, size=size, mode="nearest")


def exact(function: Callable[P, R]) -> Callable[P, R]:
    """``function`` in at least float32, under any autocast: its tensors are converted first."""

    @functools.wraps(function)
    def widened(*args: P.args, **kwargs: P.kwargs) -> R:
        values = [wide(value) if isinstance(value, Tensor) else value for value in args]
        named = {key: wide(value) if isinstance(value, Tensor) else value for key, value in kwargs.items()}
        device = next((value.device.type for value in [*values, *named.values()] if isinstance(value, Tensor)), "cpu")
        with torch.autocast(device, enabled=False):
            return function(*values, **named)  # type: ignore[arg-type]

    return widened
