"""What the checks of ``structgan/testing.py`` are written with: tiny runs of a method, and comparisons bit for bit."""

from __future__ import annotations

import contextlib
import inspect
import random
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from structgan import config as configuration
from structgan import datasets, sources, train
from structgan.errors import UserError
from structgan.files import write_json
from structgan.grid import Grid
from structgan.method import Method
from structgan.training import health


class ContractError(Exception):
    """A method breaks the contract: one sentence that says what is wrong and what to write instead."""


def require(condition: object, sentence: str) -> None:
    """Raise ``ContractError`` unless the condition is true."""
    if not condition:
        raise ContractError(sentence)


@dataclass(frozen=True)
class Harness:
    """Starts tiny runs of a method on digits, each in a folder of its own below the working directory.

    Args:
        name: of the method.
        config: a checked configuration, with sizes as in ``workflow/config/check.yaml``.
        files: the configuration files that it was read from.
        data: the prepared digits.
        processes: of the runs that are compared with a run on one process; 1 leaves that check out.
    """

    name: str
    config: Mapping[str, Any]
    files: list[str]
    data: Path
    processes: int = 1

    @classmethod
    def load(cls, name: str, files: list[str], data: Path, processes: int = 1) -> Harness:
        """Read configuration files, replace their sizes by those of a check, and prepare the digits.

        Raises:
            UserError: the configuration is invalid.
        """
        sizes = configuration.read(configuration.BASE.parent / "check.yaml")
        small = configuration.merge(configuration.load(files), sizes)
        blocks = [block for key in ("datasets", "augmentations", "methods") for block in small[key].values() if block]
        blocks += [variant for block in blocks for variant in block.get("variants", {}).values()]
        for own in (block.get("training", {}) for block in blocks):
            for key in own.keys() & sizes["training"].keys():
                if (key, own[key]) != ("steps", 0):  # a method that is not trained stays untrained
                    del own[key]
        datasets.prepare({"name": "digits", **small["datasets"]["digits"]}, data, Path("raw"))
        return cls(name, small, [str(configuration.BASE), *files], data, processes)

    def start(
        self,
        tag: str,
        augmentation: str | None = None,
        variant: str = "base",
        data: Path | None = None,
        **training: Any,
    ) -> train.Run:
        """Plan and build a run as the workflow does, after training the runs that it depends on.

        Args:
            tag: folder of the run.
            augmentation: by default the strongest one that applies to the method.
            variant: of the method's block.
            data: by default the harness's own.
            training: changes to the method's training settings.
        """
        grid = {"datasets": ["digits"], "methods": [self.name], "variants": [variant], "seeds": [3]}
        grid["augmentations"] = [augmentation or self.augmentations[-1]]
        changed = configuration.merge(self.config, {"methods": {self.name: {"training": training}}})
        with self.attempt("__init__"):
            runs, _ = Grid({**changed, "grid": [grid]}, self.files).runs()
            folders = [Path(tag) / run.path for run in runs]
            for folder, run in zip(folders, runs, strict=True):
                write_json(folder / "config.json", run.content)
            with torch.enable_grad():  # some checks run without gradients
                for folder in folders[:-1]:
                    train.run(folder, data or self.data)
            return train.Run(folders[-1], data or self.data, "cpu")

    def fit(self, tag: str, what: str = "training", **options: Any) -> train.Run:
        """Start a run and train it for two steps; ``options`` as in ``start``."""
        run = self.start(tag, steps=2, **options)
        with self.attempt(what):
            run.fit()
        return run

    @property
    def block(self) -> Mapping[str, Any]:
        """The method's block of the configuration."""
        found: Mapping[str, Any] = self.config["methods"][self.name]
        return found

    @property
    def augmentations(self) -> list[str]:
        """The augmentations that apply to the method, the weakest first."""
        excluded = self.block.get("not_applicable", {})
        found = [name for name in self.config["augmentations"] if name not in excluded]
        require(found, f"methods.{self.name}.not_applicable excludes every augmentation: leave at least one")
        return found

    @property
    def shape(self) -> tuple[int, int, int]:
        """(3, H, W) of an image."""
        size = int(self.config["datasets"]["digits"]["image_size"])
        return 3, size, size

    def images(self) -> Tensor:
        """The same seven images of noise each time. Shape: (7, 3, H, W), values in [-1, 1]."""
        return torch.rand(7, *self.shape, generator=torch.Generator().manual_seed(9)) * 2 - 1

    @contextlib.contextmanager
    def attempt(self, what: str) -> Iterator[None]:
        """Turn an error of the method's code into one line that names the line of its file."""
        try:
            yield
        except ContractError:
            raise
        except UserError as error:
            message = str(error).replace(f"{sources.ROOT}/", "").removesuffix(f"; {health.KEPT}")
            raise ContractError(re.sub(r"^\S*results/runs/\S*: ", "", message)) from error
        except Exception as error:
            file = sources.method_file(self.name)
            frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == file]
            where = f" ({configuration.short(str(file))}:{frames[-1].lineno})" if frames else ""
            reason = " ".join(str(error).split())[:300]
            raise ContractError(f"{what} fails: {type(error).__name__}: {reason}{where}") from error


GENERATORS: dict[type, Callable[[Any], Any]] = {
    torch.Generator: lambda generator: generator.get_state(),
    random.Random: lambda generator: repr(generator.getstate()),
    np.random.Generator: lambda generator: repr(generator.bit_generator.state),
}
"""Kinds of random generators, and how to read their state."""


def fingerprint(value: Any, depth: int = 6) -> Any:
    """Equal for equal values, bit for bit, and unaffected by later changes; containers are followed ``depth`` deep."""
    if isinstance(value, Tensor):
        content = value.detach().cpu().contiguous().reshape(-1)
        return str(value.dtype), tuple(value.shape), content.view(torch.uint8).numpy().tobytes()
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, value.tobytes()
    for kind, state in GENERATORS.items():
        if isinstance(value, kind):
            return fingerprint(state(value))
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return type(value), repr(value)
    if isinstance(value, set | frozenset):
        return sorted(repr(item) for item in value)
    if depth == 0 or inspect.isroutine(value) or inspect.isclass(value) or inspect.ismodule(value):
        return "not followed"
    if isinstance(value, nn.Module | torch.optim.Optimizer):
        value = dict(value.state_dict())
    if isinstance(value, Mapping):
        return [(repr(key), fingerprint(item, depth - 1)) for key, item in value.items()]
    if isinstance(value, Iterable) and hasattr(value, "__len__"):
        return [fingerprint(item, depth - 1) for item in value]
    return type(value), fingerprint(getattr(value, "__dict__", None), depth - 1)


def fingerprints(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fingerprint of each value."""
    return {name: fingerprint(value) for name, value in values.items()}


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """The names under which two sets of fingerprints differ."""
    return [name for name in dict.fromkeys([*before, *after]) if before.get(name) != after.get(name)]


def same(first: Any, second: Any) -> bool:
    """Whether two nested values are the same, bit for bit."""
    return bool(fingerprint(first) == fingerprint(second))


@contextlib.contextmanager
def unchanged(method: Method, what: str) -> Iterator[None]:
    """Require that the block leaves all weights and buffers as they are."""
    before = fingerprints(method.state_dict())
    yield
    for name in changed(before, fingerprints(method.state_dict())):
        raise ContractError(f"{what} changes `{name}`: update it in step()")


def unsaved(method: Method) -> dict[str, Any]:
    """What a state file does not save: attributes of a method and its networks, and variables of its class and file."""
    optimizers = {id(optimizer) for optimizer in method.optimizers().values()}
    kind = type(method)
    found = {
        **vars(sys.modules[kind.__module__]),
        **{f"{kind.__name__}.{key}": item for key, item in vars(kind).items()},
    }
    for prefix, module in method.named_modules():
        known = vars(Method({}, 8, 2, 1) if module is method else nn.Module()).keys()  # saved or set by the loop
        values = {key: value for key, value in vars(module).items() if key not in known and id(value) not in optimizers}
        values |= {key: module._buffers[key] for key in module._non_persistent_buffers_set}
        found |= {f"{prefix}.{key}".removeprefix("."): value for key, value in values.items()}
    return {name: value for name, value in found.items() if not name.rpartition(".")[2].startswith("__")}


def explain(name: str, value: Any, method: Method) -> str:
    """Why a value of ``unsaved`` is lost on resume, and what to write instead."""
    key = name.rpartition(".")[2]
    buffer = f'self.register_buffer("{key}", ...)'
    items = [value]
    if isinstance(value, Mapping | list | tuple):
        items += value.values() if isinstance(value, Mapping) else value
    if any(key in module._non_persistent_buffers_set for module in method.modules()):
        fix = "remove persistent=False"
    elif any(isinstance(item, tuple(GENERATORS)) for item in items):
        fix = "draw from self.rng"
    elif any(isinstance(item, torch.optim.Optimizer) for item in items):
        fix = "assign the optimizer to an attribute of the method, or return it from optimizers()"
    elif any(isinstance(item, nn.Module) for item in items):
        fix = "use nn.ModuleList or nn.ModuleDict"
    elif isinstance(value, int | float):
        fix = f"compute it from self.step_index, or use {buffer}"
    else:
        fix = f"create it with {buffer} in __init__"
    return f"`{name}` ({type(value).__name__}) is not saved, and lost on resume: {fix}"
