"""Numbers that others published, and the paper's own once a person has entered them: read, checked, for a plan.

A row may say which configuration of this suite it corresponds to (``ours``), what a run must have had for the two to be
compared (``requires``) and how far apart they may lie (``tolerance``). Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from structgan import config as configuration
from structgan import sources
from structgan.errors import unknown

SCHEMA = configuration.SCHEMAS / "published.schema.yaml"
FILES = ("references", "paper")
"""Keys of the configuration that name a file of published numbers, or null."""


def rows(config: Mapping[str, Any], key: str, datasets: Iterable[str]) -> list[dict[str, Any]]:
    """The rows of one file that belong beside the given data sets of a suite.

    Args:
        config: a checked configuration.
        key: one of ``FILES``.
        datasets: names of the suite's data sets; a block's ``reference`` names the one whose numbers to show beside it.

    Raises:
        UserError: the file cannot be read or breaks its schema, or a row corresponds to a name that does not exist.
    """
    if not config.get(key):
        return []
    file = str(sources.ROOT / config[key])
    content = configuration.read(file)
    configuration.finite(content, (), [file])
    configuration.validate(content, SCHEMA, (), [file])
    for number, row in enumerate(content["rows"]):
        if "ours" in row:
            _check_names(config, row["ours"], f"{configuration.short(file)}: rows.{number}.ours")
    shown = {config["datasets"][name].get("reference", name) for name in datasets}
    return [row for row in content["rows"] if row["dataset"] in shown]


def _check_names(config: Mapping[str, Any], ours: Mapping[str, str], where: str) -> None:
    if ours["method"] not in config["methods"]:
        raise unknown("method", ours["method"], config["methods"], where)
    if ours["augmentation"] not in config["augmentations"]:
        raise unknown("augmentation regime", ours["augmentation"], config["augmentations"], where)
    variants = ["base", *config["methods"][ours["method"]].get("variants", {})]
    if ours["variant"] not in variants:
        raise unknown("variant", ours["variant"], variants, where)
