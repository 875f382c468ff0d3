"""The entries of the campaign: the cells of its plan, in their order, each under a short name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from structgan import config, plan, sources
from structgan.errors import UserError, unknown
from structgan.files import read_json

CONFIG = "workflow/config/cifar10-campaign.yaml"
RUNS = Path("results/runs")
RESULTS = Path("benchmarks/gpu/results")
"""Small files of each entry, relative to the repository; they are in git."""
SMALL = ("config.json", "history.json", "env.json", "probe.json", "map.json", "fidelity.json", "samples.png",
         "campaign.json")  # fmt: skip
WARM = "state.warm.safetensors"
"""A run's state as it travels; see warm.py."""


class Entry(NamedTuple):
    """One run of the campaign.

    Attributes:
        name: as it is typed.
        suite: whose plan names it.
        cell: the plan's record of it.
    """

    name: str
    suite: str
    cell: dict[str, Any]

    @property
    def run(self) -> Path:
        """The run's folder, where the suite expects it."""
        return Path(self.cell["run"])

    @property
    def warm(self) -> Path:
        """The state that was brought home last."""
        return self.run / WARM

    @property
    def data(self) -> Path:
        """The prepared data set."""
        return Path(f"data/prepared/{self.cell['dataset']}.safetensors")

    @property
    def extractor(self) -> Path:
        """The embedded extractor, which every entry of a data set shares."""
        return RUNS / self.suite / str(self.cell["dataset"]) / "extractor.safetensors"

    @property
    def results(self) -> Path:
        """Where ``absorb`` puts its small files."""
        return RESULTS / self.suite / self.name

    def protocol(self, kind: str) -> Path:
        """The protocol of a kind of evaluation."""
        return RUNS / self.suite / "protocol" / f"{kind}.json"


def short(cell: Mapping[str, Any]) -> str:
    """method-augmentation, then the variant and the seed where they are not the usual ones."""
    variant = [cell["variant"]] if cell["variant"] not in ("full", "base") else []
    seed = [f"seed{cell['seed']}"] if cell["seed"] else []
    return "-".join([cell["method"], cell["augmentation"], *variant, *seed])


def of(planned: Mapping[str, Any]) -> dict[str, Entry]:
    """Every entry of a plan by its name, in order of worth."""
    found = [Entry(short(cell), planned["suite"], cell) for cell in planned["cells"]]
    return {entry.name: entry for entry in found}


def load(overlays: tuple[str, ...] = ()) -> dict[str, Entry]:
    """The entries as the configuration has them now; nothing is written."""
    files = [str(sources.ROOT / CONFIG), *overlays]
    return of(plan.make(config.load(files), [str(config.BASE), *files])[0])


def write(overlays: tuple[str, ...] = ()) -> dict[str, Entry]:
    """Plan the campaign in the working folder, as ``structgan configure`` does, and return its entries."""
    files = [str(sources.ROOT / CONFIG), *overlays]
    return of(plan.write(config.load(files), [str(config.BASE), *files]))


def packed(suite: str) -> dict[str, Entry]:
    """The entries of the plan that lies in the working folder."""
    return of(read_json(RUNS / suite / "plan.json"))


def pick(found: Mapping[str, Entry], name: str) -> Entry:
    """The entry of a name.

    Raises:
        UserError: there is none; the nearest known one is offered.
    """
    if name not in found:
        raise unknown("entry", name, found)
    return found[name]


def standing(entry: Entry) -> dict[str, Any] | None:
    """What ``absorb`` knows of an entry: its campaign.json, or None."""
    try:
        found = read_json(entry.results / "campaign.json")
    except UserError:
        return None
    return found if isinstance(found, dict) else None
