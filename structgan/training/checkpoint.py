"""Everything that a run needs to go on, in one safetensors file: networks, optimizers, bank, RNG, step, history.

Nested mappings and lists are flattened: tensors become tensors of the file, the rest is JSON in its metadata. No
pickle. A folder holds two of them, the newest state and the one before: a save takes the newest's place in two renames,
so that at every moment one whole state lies under one of the two names. Each carries the SHA-256 of its content, which
is verified when it is read.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from structgan.errors import UserError
from structgan.files import load_tensors, save_tensors
from structgan.method import Method

FORMAT = "structgan-state-3"
NEWEST, OLDER = "state.safetensors", "state.previous.safetensors"


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


def match_layout(optimizer: torch.optim.Optimizer) -> None:
    """Give each moment the memory layout of its parameter: fused updates walk both as they lie in memory.

    A file holds contiguous tensors, the weights of convolutions lie channels-last.
    """
    for parameter, moments in optimizer.state.items():
        for name, moment in moments.items():
            if isinstance(moment, Tensor) and moment.shape == parameter.shape:
                moments[name] = torch.empty_like(parameter, dtype=moment.dtype).copy_(moment)


class States:
    """The states of one run.

    Args:
        run: its folder.
        identity: of its config.json; a state of another one is not used.
        content_hash: of its data set; a state of other images is not used.
        upstream: SHA-256 of the upstream run's files by name, empty without one; a state of others is not used.
    """

    def __init__(self, run: Path, identity: str, content_hash: str, upstream: Mapping[str, str]) -> None:
        self.newest, self.older = run / NEWEST, run / OLDER
        self.identity, self.content_hash, self.upstream = identity, content_hash, dict(upstream)
        self.keep_newest = True

    def save(self, method: Method, loop: dict[str, Any]) -> None:
        """Save a state; the newest becomes the older one, unless it is known to be of no use.

        Args:
            method: its networks, buffers and optimizers are saved.
            loop: the training loop's own state: step, data order, generators, history.

        Raises:
            UserError: it cannot be written, as on a full disk; both states stay as they were.
        """
        tensors: dict[str, Tensor] = {}
        state = {
            "networks": method.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in method.optimizers().items()},
            "content_hash": self.content_hash,
            "upstream": self.upstream,
            "loop": loop,
        }
        tree = flatten(state, tensors)
        metadata = {"format": FORMAT, "identity": self.identity, "tree": json.dumps(tree)}
        metadata["sha256"] = checksum(tensors, metadata)
        save_tensors(self.newest, tensors, metadata, keep=self.older if self.keep_newest else None)
        self.keep_newest = True

    def find(self) -> dict[str, Any] | None:
        """The newest state that is whole and this run's, or None; states that are skipped are named in one line."""
        refused = []
        for path in (self.newest, self.older):
            if not path.exists():
                continue
            try:
                state = self.read(path)
            except UserError as error:
                refused.append(str(error))
                self.keep_newest = self.keep_newest and path != self.newest
                continue
            if refused:
                print(f"warning: {refused[0]}; going on from {path.name}", file=sys.stderr)
            return state
        if refused:
            print(f"starting afresh: {'; '.join(refused)}", file=sys.stderr)
        return None

    def read(self, path: Path) -> dict[str, Any]:
        """A state, verified.

        Raises:
            UserError: the file is damaged, or it belongs to another identity or to other images.
        """
        tensors, metadata = load_tensors(path)
        if metadata.get("format") != FORMAT:
            raise UserError(
                f"{path}: not a state of this version ({metadata.get('format', 'no format')}, not {FORMAT})"
            )
        if metadata.get("sha256") != checksum(tensors, metadata):
            raise UserError(f"{path}: damaged (its content has another checksum than it was written with)")
        if metadata["identity"] != self.identity:
            raise UserError(
                f"{path}: state of another identity ({metadata['identity'][:12]}), not {self.identity[:12]}"
            )
        state = restore(json.loads(metadata["tree"]), tensors)
        assert isinstance(state, dict)
        if state["content_hash"] != self.content_hash:
            raise UserError(
                f"{path}: state of other images ({state['content_hash'][:12]}), not {self.content_hash[:12]}"
            )
        if state["upstream"] != self.upstream:
            raise UserError(f"{path}: state of other weights of the upstream run than it has now")
        return state


def apply(state: dict[str, Any], method: Method) -> dict[str, Any]:
    """Put a state's networks and optimizers into ``method`` and return the loop's part.

    Raises:
        UserError: it is of another kind of device, whose random numbers are not this one's.
    """
    if state["loop"]["rng_method"].shape != method.rng.get_state().shape:
        here = method.rng.device.type
        raise UserError(f"{NEWEST}: written on another kind of device than this, '{here}': go on there, or delete it")
    method.load_state_dict(state["networks"])
    for name, optimizer in method.optimizers().items():
        optimizer.load_state_dict(state["optimizers"][name])
        match_layout(optimizer)
    loop = state["loop"]
    assert isinstance(loop, dict)
    return loop
