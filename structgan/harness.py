"""Tiny runs of a method, and comparisons bit for bit: what the checks in ``structgan/testing.py`` are written with."""

import contextlib
import inspect
import io
import random
import re
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from structgan import config as configuration
from structgan import datasets, reads, sources, train, yaml_reader
from structgan.errors import UserError
from structgan.files import write_json
from structgan.grid import Grid
from structgan.method import Method
from structgan.training import monitor

ESSENTIAL = ("class", "settings", "features", "samples", "learning")
"""If one of these checks fails, the later ones would only repeat it."""


class ContractError(Exception):
    """A method breaks the contract: one sentence that says what is wrong and what to write instead."""


def require(condition: object, sentence: str) -> None:
    """Raise ``ContractError`` unless the condition is true."""
    if not condition:
        raise ContractError(sentence)


@dataclass(frozen=True)
class Harness:
    """Starts tiny runs of a method on digits, each in a folder of its own below the working directory.

    Attributes:
        config: a checked configuration, with sizes as in ``workflow/config/check.yaml``; it was read from ``files``.
        data: the prepared digits.
        processes: of the runs that are compared with a run on one process; 1 leaves that check out.
        seen: the settings that its runs read, as dotted keys.
    """

    name: str
    config: Mapping[str, Any]
    files: list[str]
    data: Path
    processes: int = 1
    seen: set[str] = field(default_factory=set)

    @classmethod
    def load(cls, name: str, files: list[str], data: Path, processes: int = 1) -> "Harness":
        """Read configuration files, replace their sizes by those of a check, and prepare the digits.

        Raises:
            UserError: the configuration is invalid.
        """
        sizes = yaml_reader.read(configuration.BASE.parent / "check.yaml")
        small = configuration.merge(configuration.load(files), sizes)
        blocks = [block for key in ("datasets", "augmentations", "methods") for block in small[key].values() if block]
        blocks += [variant for block in blocks for variant in block.get("variants", {}).values()]
        for own in (block.get("training", {}) for block in blocks):
            for key in own.keys() & sizes["training"].keys():
                if (key, own[key]) != ("steps", 0):  # a method that is not trained stays untrained
                    del own[key]
        datasets.prepare({"name": "digits_gradient", **small["datasets"]["digits_gradient"]}, data, Path("raw"))
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
            data: by default the harness's own.
            training: changes to the method's training settings.
        """
        grid = {"datasets": ["digits_gradient"], "methods": [self.name], "variants": [variant], "seeds": [3]}
        grid["augmentations"] = [augmentation or self.augmentations[-1]]
        changed = configuration.merge(self.config, {"methods": {self.name: {"training": training}}})
        runs, _ = Grid({**changed, "grid": [grid]}, self.files).runs()
        folders = [Path(tag) / run.path for run in runs]
        for folder, run in zip(folders, runs, strict=True):
            write_json(folder / "config.json", run.content)
        with torch.enable_grad(), reads.recorded(self.name, self.seen):  # some checks run without gradients
            for folder in folders[:-1]:
                train.run(folder, data or self.data)
            return train.Run(folders[-1], data or self.data, "cpu")

    def fit(self, tag: str, **options: Any) -> train.Run:
        """Start a run and train it for two steps; ``options`` as in ``start``."""
        run = self.start(tag, steps=2, **options)
        run.fit()
        return run

    @property
    def block(self) -> Any:
        """The method's block of the configuration."""
        return self.config["methods"][self.name]

    @property
    def augmentations(self) -> list[str]:
        """The augmentations that apply to the method, the weakest first."""
        found = [name for name in self.config["augmentations"] if name not in self.block.get("not_applicable", {})]
        require(found, f"methods.{self.name}.not_applicable excludes every augmentation: leave at least one")
        return found

    def images(self, n: int = 7) -> Tensor:
        """The same images of noise each time. Shape: (n, 3, H, W), values in [-1, 1]."""
        size = int(self.config["datasets"]["digits_gradient"]["image_size"])
        return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(9)) * 2 - 1

    def check(self, function: "Check") -> tuple[str, str]:
        """Run a check quietly; "ok", "-" or "WRONG", and its remark. An error of the method's code is wrong too."""
        nowhere = io.StringIO()
        silent = contextlib.redirect_stderr(nowhere), contextlib.redirect_stdout(nowhere)
        try:
            with warnings.catch_warnings(action="ignore"), silent[0], silent[1], self.attempt("the check"):
                remark = function(self)
        except ContractError as error:
            return "WRONG", str(error)
        return ("-", "does not apply") if remark is None else ("ok", remark)

    @contextlib.contextmanager
    def attempt(self, what: str) -> Iterator[None]:
        """Turn an error of the method's code into one line that names the line of its file."""
        try:
            yield
        except ContractError:
            raise
        except UserError as error:
            message = str(error).replace(f"{sources.ROOT}/", "").removesuffix(f"; {monitor.KEPT}")
            raise ContractError(re.sub(r"^\S*results/runs/\S*: ", "", message)) from error
        except Exception as error:
            file = sources.method_file(self.name)
            frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == file]
            where = f" ({configuration.short(str(file))}:{frames[-1].lineno})" if frames else ""
            reason = " ".join(str(error).split())[:300]
            raise ContractError(f"{what} fails: {type(error).__name__}: {reason}{where}") from error


Check = Callable[[Harness], str | None]


def run_checks(checks: Mapping[str, Check], name: str, files: list[str], processes: int) -> int:
    """Check a method in a temporary folder, print a line for each check, and return how many failed.

    ``files`` are laid on top of ``workflow/config/config.yaml``; by default the demo's, the field's and the method's.

    Raises:
        UserError: there is no such method, or the configuration is invalid.
    """
    own = [configuration.BASE.parent / f"{file}.yaml" for file in ("demo", "field", name)]
    files = [str(Path(file).resolve()) for file in files] or [str(file) for file in own if file.exists()]
    shown = " + ".join(map(configuration.short, files))
    print(f"{name}: {configuration.short(str(sources.method_file(name)))}, with {shown}")
    failed = 0
    with tempfile.TemporaryDirectory(prefix="structgan-check-") as folder, contextlib.chdir(folder):
        harness = Harness.load(name, files, Path("data.safetensors"), processes)
        for check, function in checks.items():
            mark, remark = harness.check(function)
            failed += mark == "WRONG"
            print(f"  {mark:5}  {check:13}  {remark}", flush=True)
            if failed and check in ESSENTIAL:
                print("  -      the rest       skipped: fix the above first")
                break
    print(f"{name}: {f'{failed} wrong' if failed else 'keeps the contract'}")
    return failed


def fingerprint(value: Any, depth: int = 6) -> Any:
    """Equal for equal values, bit for bit, and unaffected by later changes; containers are followed ``depth`` deep."""
    if isinstance(value, nn.Module | torch.optim.Optimizer):
        value = value.state_dict()
    elif isinstance(value, torch.Generator):
        value = value.get_state()
    elif isinstance(value, random.Random):
        value = value.getstate()
    elif isinstance(value, np.random.Generator):
        value = value.bit_generator.state
    if isinstance(value, Tensor):
        content = value.detach().cpu().contiguous().reshape(-1)
        return str(value.dtype), tuple(value.shape), content.view(torch.uint8).numpy().tobytes()
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, value.tobytes()
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return type(value), repr(value)
    if depth == 0 or inspect.isroutine(value) or inspect.isclass(value) or inspect.ismodule(value):
        return "not followed"
    if isinstance(value, Mapping):  # an item of a Reads must not count as read
        items = dict.items(value) if isinstance(value, dict) else value.items()
        return [(repr(key), fingerprint(item, depth - 1)) for key, item in items]
    if isinstance(value, Iterable) and hasattr(value, "__len__"):
        return [fingerprint(item, depth - 1) for item in value]
    return type(value), fingerprint(getattr(value, "__dict__", None), depth - 1)


def fingerprints(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fingerprint of each value, by its name."""
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
    """Fingerprints of what no state file holds: attributes of the networks, and variables of the class and its file."""
    kind = type(method)
    found = dict(vars(sys.modules[kind.__module__]))
    found |= {f"{kind.__name__}.{key}": value for key, value in vars(kind).items()}
    for prefix, module in method.named_modules():
        known = vars(Method({}, 8, 2, 1) if module is method else nn.Module()).keys() | method.optimizers().keys()
        values = {key: value for key, value in vars(module).items() if key not in known}
        values |= {key: module._buffers[key] for key in module._non_persistent_buffers_set}
        found |= {f"{prefix}.{key}".removeprefix("."): value for key, value in values.items()}
    return fingerprints({name: value for name, value in found.items() if "__" not in name})
