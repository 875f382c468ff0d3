"""The process's random number generators, besides a run's own: seeded, saved and restored.

The suite's methods use the run's own generators; a user's baseline may use the process's.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


def seed(number: int) -> None:
    """Seed PyTorch (and its GPU), NumPy's and Python's generators of the process."""
    torch.manual_seed(number)
    np.random.seed(number)
    random.seed(number)


def state(device: str) -> dict[str, Any]:
    """Their states, as tensors and plain values."""
    numpy: Any = np.random.get_state(legacy=False)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.startswith("cuda") else None,
        "numpy": {
            **numpy,
            "state": {**numpy["state"], "key": torch.from_numpy(numpy["state"]["key"].astype(np.int64))},
        },
        "python": random.getstate(),
    }


def restore(saved: dict[str, Any], device: str) -> None:
    """Put back what ``state`` gave, whether or not it has been through a file."""
    torch.set_rng_state(saved["torch"])
    if device.startswith("cuda") and saved["cuda"] is not None:
        torch.cuda.set_rng_state(saved["cuda"], device)
    numpy = saved["numpy"]
    key = numpy["state"]["key"].numpy().astype(np.uint32)
    np.random.set_state({**numpy, "state": {**numpy["state"], "key": key}})
    version, numbers, gauss = saved["python"]
    random.setstate((version, tuple(numbers), gauss))
