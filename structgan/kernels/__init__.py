"""Fused Triton kernels for GPUs: the same mathematics as the layers' PyTorch form, with fewer passes over memory.

Maps are channels-last, and statistics are float32. Each file begins with the PyTorch form that its kernels replace;
that form stays the reference, runs wherever ``fused`` says no, and is one switch away: ``STRUCTGAN_EAGER=1``, or
``with eager():``.
"""

import contextlib
import functools
import importlib.util
import os
import sys
from collections.abc import Iterator

import torch
from torch import Tensor

COSINE = {torch.float32: 0.999, torch.bfloat16: 0.995}
"""Least cosine between the kernels' gradients and PyTorch's, by the type of the maps."""


_switch = {"on": not os.environ.get("STRUCTGAN_EAGER") and importlib.util.find_spec("triton") is not None}


def on(device: str, dtype: torch.dtype) -> bool:
    """Whether maps of a type go through the kernels on a device: a GPU, where they agree with PyTorch."""
    return _switch["on"] and device.startswith("cuda") and dtype in COSINE and agree(device, dtype)


def fused(x: Tensor) -> bool:
    """Whether a map goes through the kernels; only a plain tensor does."""
    return x.is_cuda and type(x) is Tensor and on(str(x.device), x.dtype)


@contextlib.contextmanager
def eager() -> Iterator[None]:
    """PyTorch's own kernels for the time of a block."""
    before = _switch["on"]
    _switch["on"] = False
    try:
        yield
    finally:
        _switch["on"] = before


@functools.cache
def agree(device: str, dtype: torch.dtype) -> bool:
    """Whether the kernels' gradients are PyTorch's on a device, tried once a process; a line on stderr says why not."""
    from structgan.kernels import agreement

    try:
        with torch.autocast(device.partition(":")[0], enabled=False), torch.enable_grad():
            reason = agreement.disagreement(device, dtype, COSINE[dtype])
    except Exception as error:  # of a compiler or a driver: PyTorch's own kernels still work
        reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    if reason:
        print(f"fused kernels are off in {dtype}: {reason}", file=sys.stderr)
    return not reason
