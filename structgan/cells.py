"""A cell of the grid: its names, the folder of its run, and the cell whose run it depends on. Imports no torch.

A method's block of the configuration, or one of its variants key by key, may name a run that has to be finished first:
``upstream: {method, augmentation, variant}``; data set and seed are the run's own. Which run that is hangs on method
and variant alone, so that a configuration can be checked without its grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from structgan import sources
from structgan.errors import UserError, unknown

NAMES = ("dataset", "method", "augmentation", "variant", "seed")
UPSTREAM = ("method", "augmentation", "variant")


def run_folder(suite: str, cell: Mapping[str, Any]) -> str:
    """results/runs/{suite}/{dataset}/{method}/{augmentation}/{variant}/seed={seed}: says what it is, nothing else."""
    names = "/".join(str(cell[name]) for name in NAMES[:4])
    return f"results/runs/{suite}/{names}/seed={cell['seed']}"


def upstream(config: Mapping[str, Any], cell: Mapping[str, Any]) -> dict[str, Any] | None:
    """The cell whose run a cell's run depends on, or None.

    Args:
        config: the merged configuration.
        cell: at least ``method`` and ``variant``, which exist; what else it holds goes over to the upstream cell.

    Raises:
        UserError: a name is missing or does not exist, or a method that needs images is given none to sample from.
    """
    method, blocks = cell["method"], config["methods"]
    where, needed = f"methods.{method}.upstream", ", ".join(UPSTREAM)
    change = (blocks[method].get("variants", {}).get(cell["variant"]) or {}).get("upstream", {})
    named = {} if change is None else {**(blocks[method].get("upstream") or {}), **change}
    samples = sources.traits(method)["uses_generator"]
    if not named:
        if samples:
            raise UserError(f"{where} is missing, and {method} learns from another run's generator (needed: {needed})")
        return None
    for key in UPSTREAM:
        if key not in named:
            raise UserError(f"{where}.{key} is missing (needed: {needed})")
    if named["method"] not in blocks:
        raise unknown("method", named["method"], blocks, where)
    if named["augmentation"] not in config["augmentations"]:
        raise unknown("augmentation regime", named["augmentation"], config["augmentations"], where)
    variants = {"base", *blocks[named["method"]].get("variants", {})}
    if named["variant"] not in variants:
        raise unknown("variant", named["variant"], variants, where)
    if samples and not sources.traits(named["method"])["samples"]:
        allowed = ", ".join(name for name in sorted(blocks) if sources.traits(name)["samples"])
        raise UserError(f"{where}.method = {named['method']}: has no generator to sample from (allowed: {allowed})")
    return {**cell, **named}


def lineage(config: Mapping[str, Any], cell: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The cells whose runs a cell's run depends on, the nearest first; empty for most.

    Raises:
        UserError: as ``upstream``, or they go in a circle.
    """
    found: list[dict[str, Any]] = []
    path = [f"{cell['method']}/{cell['variant']}"]
    above = upstream(config, cell)
    while above:
        path.append(f"{above['method']}/{above['variant']}")
        if path[-1] in path[:-1]:
            raise UserError(f"methods.{cell['method']}.upstream: goes in a circle: {' → '.join(path)}")
        found.append(above)
        above = upstream(config, above)
    return found


def upstream_folder(run: Path, config: Mapping[str, Any]) -> Path:
    """Where the upstream run of a config.json lies: in the tree that holds its own run, else below the working folder.

    Args:
        run: the folder of the config.json.
        config: its content, with ``upstream``.
    """
    own, parts = Path(run_folder(config["suite"], config)).parts, run.absolute().parts
    root = Path(*parts[: -len(own)]) if parts[-len(own) :] == own else Path()
    return root / str(config["upstream"]["run"])
