"""Everything that a run needs to go on, in one safetensors file: networks, optimizers, bank, RNG, step, history.

Nested mappings and lists are flattened: tensors become tensors of the file, the rest is JSON in its metadata. No
pickle. A new state takes the old one's place in one rename, so that the file is whole at every moment. The one before
is kept: each carries the SHA-256 of its content, and where the newest is damaged, a run goes on from the previous one.
"""

import hashlib
import json
import random
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from structgan.errors import UserError
from structgan.files import load_tensors, save_tensors
from structgan.method import Method

FORMAT = "structgan-state-5"
NAME, PREVIOUS = "state.safetensors", "state.previous.safetensors"


def flatten(value: Any, tensors: dict[str, Tensor], path: str = "") -> Any:
    """``value`` as JSON, its tensors copied to ``tensors`` under their path."""
    if isinstance(value, Tensor):
        tensors[path] = value.detach().to("cpu", copy=True)  # safetensors refuses two names for one storage
        return {"__tensor__": path}
    if isinstance(value, dict):
        return {"__dict__": [[key, flatten(item, tensors, f"{path}/{key}")] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return [flatten(item, tensors, f"{path}/{index}") for index, item in enumerate(value)]
    return value


def restore(value: Any, tensors: dict[str, Tensor]) -> Any:
    """The inverse of ``flatten``; tuples come back as lists."""
    if isinstance(value, dict):
        if "__tensor__" in value:
            return tensors[value["__tensor__"]]
        return {key: restore(item, tensors) for key, item in value["__dict__"]}
    if isinstance(value, list):
        return [restore(item, tensors) for item in value]
    return value


def checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """SHA-256 over names, types, shapes and bytes of the tensors and over the metadata but for the checksum itself."""
    total = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        total.update(f"{name}\0{tensor.dtype}\0{list(tensor.shape)}\0".encode())
        total.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    total.update(json.dumps(sorted(item for item in metadata.items() if item[0] != "sha256")).encode())
    return total.hexdigest()


class States:
    """The two last states of one run.

    Args:
        run: its folder.
        of: what a state must agree in to be used, by name: the run's identity, its data set, its upstream run.
    """

    def __init__(self, run: Path, of: Mapping[str, str]) -> None:
        self.path, self.previous, self.of = run / NAME, run / PREVIOUS, {"format": FORMAT, **of}

    def save(self, method: Method, loop: dict[str, Any]) -> None:
        """Save the state of a method and of the training loop.

        Raises:
            UserError: it cannot be written, as on a full disk; the old one stays.
        """
        tensors: dict[str, Tensor] = {}
        optimizers = {name: optimizer.state_dict() for name, optimizer in method.optimizers().items()}
        tree = flatten({"networks": method.state_dict(), "optimizers": optimizers, "loop": loop}, tensors)
        metadata = {**self.of, "tree": json.dumps(tree)}
        metadata["sha256"] = checksum(tensors, metadata)
        save_tensors(self.path, tensors, metadata, keep=self.previous)

    def find(self) -> dict[str, Any] | None:
        """``networks``, ``optimizers`` and ``loop`` of the newest state of use, or None; a line says what is not."""
        for path in (path for path in (self.path, self.previous) if path.exists()):
            try:
                return self.read(path)
            except UserError as error:
                print(f"not used: {error}", file=sys.stderr)
        return None

    def read(self, path: Path) -> dict[str, Any]:
        """One state.

        Raises:
            UserError: it is damaged, or of another run or data set.
        """
        tensors, metadata = load_tensors(path)
        if metadata.get("sha256") != checksum(tensors, metadata):
            raise UserError(f"{path}: damaged (its content has another checksum than it was written with)")
        for name, value in self.of.items():
            if metadata.get(name) != value:
                raise UserError(f"{path}: of another {name} ({metadata.get(name)}, not {value})")
        state: dict[str, Any] = restore(json.loads(metadata["tree"]), tensors)
        return state


def apply(state: dict[str, Any], method: Method) -> dict[str, Any]:
    """Put a state's networks and optimizers into ``method`` and return the loop's part.

    Raises:
        UserError: it is of another kind of device, whose random numbers are not this one's.
    """
    loop: dict[str, Any] = state["loop"]
    if loop["rng_method"].shape != method.rng.get_state().shape:
        here = method.rng.device.type
        raise UserError(f"{NAME}: written on another kind of device than this, '{here}': go on there, or delete it")
    method.load_state_dict(state["networks"])
    for name, optimizer in method.optimizers().items():
        optimizer.load_state_dict(state["optimizers"][name])
        for parameter, moments in optimizer.state.items():  # a file's tensors are contiguous, weights channels-last
            for key, moment in moments.items():
                if isinstance(moment, Tensor) and moment.shape == parameter.shape:  # fused updates need one layout
                    moments[key] = torch.empty_like(parameter, dtype=moment.dtype).copy_(moment)
    return loop


def seed(number: int) -> None:
    """Seed the process's generators of PyTorch (and its GPU), NumPy and Python, which a user's baseline may use."""
    torch.manual_seed(number)
    np.random.seed(number)
    random.seed(number)


def random_state(device: str) -> dict[str, Any]:
    """The states of the process's generators, as tensors and plain values."""
    name, key, *rest = np.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.startswith("cuda") else None,
        "numpy": [name, np.asarray(key).tolist(), *rest],
        "python": random.getstate(),
    }


def set_random_state(saved: dict[str, Any], device: str) -> None:
    """Put back what ``random_state`` gave, whether or not it has been through a file."""
    torch.set_rng_state(saved["torch"])
    if device.startswith("cuda") and saved["cuda"] is not None:
        torch.cuda.set_rng_state(saved["cuda"], device)
    np.random.set_state(tuple(saved["numpy"]))
    version, numbers, gauss = saved["python"]
    random.setstate((version, tuple(numbers), gauss))
