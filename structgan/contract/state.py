"""What a method holds, compared bit for bit: what a state file saves of it, and what it keeps beside that and loses.

A state file saves parameters, buffers and the optimisers that ``optimisers()`` names. Everything else that training
changes is gone after an interruption; here it is found by comparing attributes, and said with what to do about it.
"""

from __future__ import annotations

import hashlib
import inspect
import random
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from structgan.method import Method

DEPTH = 6
"""How far nested containers and objects are followed."""


def snapshot(method: nn.Module) -> dict[str, Tensor]:
    """A copy of all parameters and buffers that are saved."""
    return {key: value.clone() for key, value in method.state_dict().items()}


def print_of(value: Any, depth: int = DEPTH) -> Any:
    """A nested value as something that compares equal exactly where the value is the same, bit for bit."""
    if isinstance(value, Tensor):
        whole = value.detach().cpu().contiguous()
        data = whole.reshape(-1).view(torch.uint8).numpy().tobytes() if whole.numel() else b""
        return "tensor", str(value.dtype), tuple(value.shape), hashlib.sha256(data).hexdigest()
    if isinstance(value, np.ndarray):
        return "array", str(value.dtype), value.shape, hashlib.sha256(value.tobytes()).hexdigest()
    if isinstance(value, torch.Generator):
        return "generator", print_of(value.get_state())
    if isinstance(value, random.Random):
        return "generator", value.getstate()
    if isinstance(value, np.random.Generator):
        return "generator", repr(value.bit_generator.state)
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return type(value).__name__, repr(value)
    if depth == 0:
        return "deep"
    if isinstance(value, Mapping):
        return "mapping", tuple((repr(key), print_of(item, depth - 1)) for key, item in value.items())
    if isinstance(value, set | frozenset):
        return "set", tuple(sorted(repr(item) for item in value))
    if isinstance(value, nn.Module | torch.optim.Optimizer):
        return "saved", print_of(dict(value.state_dict()), depth)
    if inspect.isroutine(value) or inspect.isclass(value) or inspect.ismodule(value):
        return "code"
    if isinstance(value, Iterable) and hasattr(value, "__len__"):
        return "list", tuple(print_of(item, depth - 1) for item in value)
    if hasattr(value, "__dict__"):
        return type(value).__name__, print_of(vars(value), depth - 1)
    return type(value).__name__


def same(a: Any, b: Any) -> bool:
    """Whether two nested values of tensors and numbers are the same, bit for bit."""
    return bool(print_of(a) == print_of(b))


def differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """The names under which two mappings hold something else."""
    first, second = prints(a), prints(b)
    return [key for key in dict.fromkeys([*a, *b]) if first.get(key) != second.get(key)]


def unsaved(method: Method) -> dict[str, Any]:
    """What a method and its networks hold that no state file saves, by dotted name.

    What ``Method`` itself keeps is left out: the loop saves the place of ``rng`` and counts the steps.
    """
    own = set(vars(nn.Module())) | set(vars(Method({}, 8, 2, 1)))
    optimisers = {id(optimiser) for optimiser in method.optimisers().values()}
    found: dict[str, Any] = {}
    for prefix, module in method.named_modules():
        values = {key: value for key, value in vars(module).items() if key not in own and id(value) not in optimisers}
        values |= {key: module._buffers[key] for key in module._non_persistent_buffers_set}
        found |= {f"{prefix}.{key}" if prefix else key: value for key, value in values.items()}
    return found


def shared(kind: type[Method]) -> dict[str, Any]:
    """Variables of a method's class and of its file, which all runs of a process share."""
    found = {f"{kind.__name__}.{key}": value for key, value in vars(kind).items() if not key.startswith("__")}
    found |= {key: value for key, value in vars(sys.modules[kind.__module__]).items() if not key.startswith("__")}
    return {key: value for key, value in found.items() if print_of(value) != "code" and not isinstance(value, property)}


def prints(values: Mapping[str, Any]) -> dict[str, Any]:
    """``print_of`` each value, to be compared after they have changed."""
    return {key: print_of(value) for key, value in values.items()}


def parts(value: Any, depth: int = DEPTH) -> Iterator[Any]:
    """A container's items, however deep."""
    if depth and isinstance(value, Mapping | list | tuple | set):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from parts(item, depth - 1)
    else:
        yield value


def advice(name: str, value: Any, method: Method) -> str:
    """What is wrong with keeping changing state in an attribute of this kind, and what to do."""
    key = name.rsplit(".", 1)[-1]
    owner = method.get_submodule(name.rpartition(".")[0])
    kinds = {type(item) for item in parts(value)}
    if key in owner._non_persistent_buffers_set:
        return f"buffer `{name}` is registered with persistent=False: it is lost on resume; leave that out"
    if isinstance(value, Tensor):
        do = f'self.register_buffer("{key}", ...) in __init__ keeps it'
        return f"attribute `{name}` is a plain tensor, not a buffer: it is lost on resume; {do}"
    if any(issubclass(kind, torch.Generator | random.Random | np.random.Generator) for kind in kinds):
        return f"attribute `{name}` is a random generator of its own: its place is lost on resume; draw from self.rng"
    if any(issubclass(kind, torch.optim.Optimizer) for kind in kinds):
        do = "make it an attribute of the method itself, or name it in optimisers()"
        return f"attribute `{name}` holds an optimiser where it is not found: its state is lost on resume; {do}"
    if any(issubclass(kind, nn.Module) for kind in kinds):
        return f"attribute `{name}` holds networks in a plain container: they are lost on resume; use nn.ModuleList"
    what = "number" if isinstance(value, int | float) else type(value).__name__
    do = f'keep it as a tensor, self.register_buffer("{key}", ...), or compute it from self.step_index'
    return f"attribute `{name}` is a plain {what}, not a buffer: it is lost on resume; {do}"
