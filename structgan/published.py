"""Published numbers beside a suite's own: rows of a YAML file that the configuration names. Imports no torch."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from structgan import config, sources, yaml_reader
from structgan.errors import UserError
from structgan.grid import Grid

KEYS = ("references", "paper")
"""Keys of the configuration that name such a file, or null."""


def rows(grid: Grid, key: str, datasets: Iterable[str]) -> list[dict[str, Any]]:
    """The checked rows of a file that belong beside the data sets of a suite."""
    if not grid.config.get(key):
        return []
    file = str(sources.ROOT / grid.config[key])
    if not Path(file).is_file():
        raise UserError(f"{grid.where(key)} = {grid.config[key]}: no such file in the repository")
    content = yaml_reader.read(file)
    config.validate(content, config.SCHEMAS / "published.schema.yaml", (), [file])
    for number, row in enumerate(content["rows"]):
        if "ours" in row:
            grid.check_names(f"{config.short(file)}: rows.{number}.ours", **row["ours"])
    shown = {grid.config["datasets"][name].get("reference", name) for name in datasets}
    return [row for row in content["rows"] if row["dataset"] in shown]
