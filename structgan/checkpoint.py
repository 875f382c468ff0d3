"""Everything that a run needs to go on, in one safetensors file: networks, optimisers, bank, RNG, step, history.

Nested mappings and lists are flattened: tensors become tensors of the file, the rest is JSON in its metadata. No
pickle.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from structgan.errors import UserError
from structgan.files import load_tensors, save_tensors
from structgan.method import Method

FORMAT = "structgan-state-1"


def flatten(value: Any, tensors: dict[str, Tensor], path: str = "") -> Any:
    """``value`` as JSON, its tensors moved to ``tensors`` under their path."""
    if isinstance(value, Tensor):
        tensors[path] = value.clone()  # safetensors refuses two names for one storage
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


def save(path: Path, identity: str, method: Method, loop: dict[str, Any]) -> None:
    """Save a run's state atomically.

    Args:
        path: where to.
        identity: of the run's config.json.
        method: its networks, buffers and optimisers are saved.
        loop: the training loop's own state: step, data order, generators, history.
    """
    tensors: dict[str, Tensor] = {}
    state = {
        "networks": method.state_dict(),
        "optimisers": {name: optimiser.state_dict() for name, optimiser in method.optimisers().items()},
        "loop": loop,
    }
    tree = flatten(state, tensors)
    save_tensors(path, tensors, {"format": FORMAT, "identity": identity, "tree": json.dumps(tree)})


def match_layout(optimiser: torch.optim.Optimizer) -> None:
    """Give each moment the memory layout of its parameter: fused updates walk both as they lie in memory.

    A file holds contiguous tensors, the weights of convolutions lie channels-last.
    """
    for parameter, moments in optimiser.state.items():
        for name, moment in moments.items():
            if isinstance(moment, Tensor) and moment.shape == parameter.shape:
                moments[name] = torch.empty_like(parameter, dtype=moment.dtype).copy_(moment)


def load(path: Path, identity: str, content_hash: str, method: Method) -> dict[str, Any]:
    """Put a saved state into ``method`` and return the loop's part.

    Raises:
        UserError: the file is damaged, or it belongs to another identity or to other images.
    """
    tensors, metadata = load_tensors(path)
    if metadata.get("format") != FORMAT or metadata.get("identity") != identity:
        raise UserError(
            f"{path}: state of another identity ({metadata.get('identity', 'none')[:12]}), not {identity[:12]}"
        )
    state = restore(json.loads(metadata["tree"]), tensors)
    if state["loop"]["content_hash"] != content_hash:
        raise UserError(
            f"{path}: state of other images ({state['loop']['content_hash'][:12]}), not {content_hash[:12]}"
        )
    method.load_state_dict(state["networks"])
    for name, optimiser in method.optimisers().items():
        optimiser.load_state_dict(state["optimisers"][name])
        match_layout(optimiser)
    loop = state["loop"]
    assert isinstance(loop, dict)
    return loop
