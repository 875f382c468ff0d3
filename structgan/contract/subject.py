"""A method under examination: its configuration at a size of seconds, planned and started as real runs are."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from structgan import config as configuration
from structgan import plan, sources, train
from structgan.errors import UserError
from structgan.files import write_json
from structgan.method import Method
from structgan.training import health

SIZES = configuration.BASE.parent / "check.yaml"
"""The sizes of a check, laid on top of the configuration that it is of."""


class Broken(Exception):
    """A method does not keep the contract; the message says what is wrong and what to do, in one line."""


@dataclass(frozen=True)
class Subject:
    """A method, and what its runs are made of. Runs go to ``results/runs`` below the working directory.

    Args:
        name: the method's.
        config: a checked configuration with sizes as in ``SIZES``.
        files: where it came from.
        data: the prepared data set.
        dataset: its name in the configuration.
        seed: of every run.
    """

    name: str
    config: Mapping[str, Any]
    files: list[str]
    data: Path
    dataset: str = "digits"
    seed: int = 3

    @property
    def block(self) -> Mapping[str, Any]:
        """The method's block of the configuration."""
        found: Mapping[str, Any] = self.config["methods"][self.name]
        return found

    @property
    def file(self) -> str:
        """The method's file, as it is shown."""
        return configuration.short(str(sources.method_file(self.name)))

    @property
    def size(self) -> int:
        """Height and width of the images in pixels."""
        return int(self.config["datasets"][self.dataset]["image_size"])

    @property
    def regimes(self) -> list[str]:
        """Augmentation regimes under which the method runs, the weakest first."""
        excluded = self.block.get("not_applicable", {})
        found = [name for name in self.config["augmentations"] if name not in excluded]
        if not found:
            raise Broken(f"methods.{self.name}.not_applicable declares every regime: leave one to run under")
        return found

    def images(self, n: int = 7) -> Tensor:
        """The same ``n`` images of noise each time. Shape: (n, 3, size, size), values in [-1, 1]."""
        rng = torch.Generator().manual_seed(9)
        return torch.rand(n, 3, self.size, self.size, generator=rng) * 2 - 1

    def start(self, tag: str, augmentation: str | None = None, variant: str = "base", **training: Any) -> train.Run:
        """A run at its first step, planned and built as real ones are.

        Args:
            tag: tells its folder from those of other runs of the same cell.
            augmentation: its regime; the strongest under which the method runs, where none is named.
            variant: of the method's block.
            training: changes to the method's training.

        Raises:
            Broken: the planner or the method's class refuses.
        """
        cell = {"dataset": self.dataset, "method": self.name, "augmentation": augmentation or self.regimes[-1]}
        grid = [{**{f"{key}s": [value] for key, value in cell.items()}, "variants": [variant], "seeds": [self.seed]}]
        changed = configuration.merge(self.config, {"suite": tag, "methods": {self.name: {"training": training}}})
        with self.attempt("building it"):
            _, runs = plan.make({**changed, "grid": grid}, self.files)
            for run in runs:
                write_json(Path(run["folder"]) / "config.json", run["config"])
            with torch.enable_grad():  # whoever asks
                for run in runs[:-1]:  # what the planner puts ahead of a run, it depends on
                    train.run(Path(run["folder"]), self.data)
            return train.Run(Path(runs[-1]["folder"]), self.data, "cpu")

    def on(self, data: Path) -> Subject:
        """The same method on another data set."""
        return replace(self, data=data)

    @contextmanager
    def attempt(self, what: str) -> Iterator[None]:
        """Turn whatever the method's code raises into one line that says where."""
        try:
            yield
        except Broken:
            raise
        except UserError as error:
            raise Broken(shortened(str(error))) from error
        except Exception as error:
            raise Broken(f"{what} fails: {located(error, sources.method_file(self.name))}") from error


def shortened(message: str) -> str:
    """A refusal of the suite without the tree's path, the temporary run's folder and what is kept in it."""
    message = message.replace(f"{sources.ROOT}/", "")
    head, _, rest = message.partition(": ")
    return (rest if head.startswith("results/runs/") else message).removesuffix(f"; {health.KEPT}")


def located(error: BaseException, file: Path) -> str:
    """An exception in one line, with the last line of ``file`` that led to it."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == file]
    where = f" ({configuration.short(str(file))}:{lines[-1]})" if lines else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}{where}"


def small(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with the sizes of a check; a method that is planned for no step stays without.

    Blocks lay their own training on top of the common one: their sizes go.
    """
    sizes = configuration.read(SIZES)
    made = configuration.merge(config, sizes)
    blocks = [*made["datasets"].values(), *made["augmentations"].values(), *made["methods"].values()]
    blocks += [variant for method in made["methods"].values() for variant in method.get("variants", {}).values()]
    for block in blocks:
        own = (block or {}).get("training", {})
        for key in set(own) & set(sizes["training"]):
            if (key, own[key]) != ("steps", 0):
                del own[key]
    return made


def learns(method: Method) -> set[int]:
    """Ids of the parameters that an optimiser updates."""
    groups = [group for optimiser in method.optimisers().values() for group in optimiser.param_groups]
    return {id(parameter) for group in groups for parameter in group["params"]}
