"""Evaluations of frozen runs, found by file.

A module of this folder is an evaluation if it assigns ``COLUMNS``. It also holds ``run(job) -> Measured`` and may
assign ``SETTINGS``, ``FILES``, ``NEEDS`` and ``ALSO``; see ``Evaluation``. All five are literals: planning reads them
from the syntax tree, without importing the module and torch. This file imports no torch.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from structgan import sources
from structgan.errors import UserError

FOLDER = Path(__file__).resolve().parent
DECLARED = ("COLUMNS", "SETTINGS", "FILES", "NEEDS", "ALSO")
UNITS = {"%": 100.0, "‰": 1000.0, "": 1.0}
"""Factor from the stored value to the shown one."""


@dataclass(frozen=True)
class Column:
    """One number of an evaluation, declared once: jobs, tables, figures and the page read it.

    Attributes:
        name: of the metric in ``results.load`` and in tables, such as ``linear``; one * matches any text, as in
            ``linear_*pct``.
        path: keys in the file's ``metrics``, joined by dots, such as ``linear.top1``.
        label: its heading, without the unit.
        unit: ``%`` shows a fraction in per cent, ``‰`` times 1000; empty shows it as it is.
        better: ``higher``, ``lower``, or empty where neither is.
        digits: shown after the point.
        short: its heading where room is scarce.
    """

    name: str
    path: str
    label: str
    unit: str = ""
    better: str = ""
    digits: int = 1
    short: str = ""

    @property
    def scale(self) -> float:
        """Factor from the stored value to the shown one."""
        return UNITS[self.unit]


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation's module declares.

    Attributes:
        name: stem of its file.
        columns: ``COLUMNS``, a list of the keywords of ``Column``.
        settings: ``SETTINGS``, the blocks of the configuration's ``evaluation`` that make up its protocol (default: the
            block of its name). It is asked for where all of them are set.
        files: ``FILES``, what it writes beside its JSON: ``map.json`` becomes map-<id>.json.
        needs: ``NEEDS``; "sample" leaves out methods that cannot sample.
        also: ``ALSO``, what its job reads beside the run and its data set: "extractor", "targets" or "raw".
    """

    name: str
    columns: tuple[Column, ...]
    settings: tuple[str, ...]
    files: tuple[str, ...] = ()
    needs: str = ""
    also: tuple[str, ...] = ()


@functools.cache
def found() -> dict[str, Evaluation]:
    """Every evaluation by name, probe first, then by name.

    Raises:
        UserError: a module declares something that is not a literal, or a column with an unknown key.
    """
    names = sorted((path.stem for path in FOLDER.glob("[!_]*.py")), key=lambda name: (name != "probe", name))
    return {name: entry for name in names if (entry := declared(name))}


def declared(name: str) -> Evaluation | None:
    """What the module of this name declares; None where it is no evaluation."""
    path = FOLDER / f"{name}.py"
    given = {key.lower(): value for key, value in sources.literals(path, *DECLARED).items()}
    if "columns" not in given:
        return None
    try:
        columns = tuple(Column(**column) for column in given.pop("columns"))
        given |= {key: tuple(value) for key, value in given.items() if isinstance(value, list)}
        return Evaluation(name, columns, **{"settings": (name,), **given})
    except TypeError as error:
        allowed = ", ".join(field.name for field in fields(Column))
        raise UserError(f"{path}: COLUMNS: {error} (keys of a column: {allowed})") from error


def value(record: Mapping[str, Any], path: str) -> Any:
    """What a record's ``metrics`` hold under the keys of a column's path; None where they hold nothing."""
    node: Any = record.get("metrics", {})
    for key in path.split("."):
        node = node.get(key) if isinstance(node, Mapping) else None
    return node
