"""Axes of an ablation: settings that are varied one at a time, and the variants that their values stand for.

A method's block says ``sweep: {cluster.k: [1, 2, 4, 8]}``. Each value becomes a variant, ``cluster.k-2`` and so on,
that changes this one setting; the method's own value is no new variant but the run that the suite has anyway, ``full``
or ``base``. An axis may also name variants of the block. Where a grid lists variants, the name of an axis stands for
all of its points. Imports no torch.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from structgan.errors import UserError, unknown

TRAINING = "training."


@dataclass(frozen=True)
class Point:
    """One value of an axis, the variant that has it, and its words; ``default`` is the method's own value."""

    value: Any
    variant: str
    label: str
    default: bool


@dataclass(frozen=True)
class Axis:
    """What is varied.

    Attributes:
        name: the key of a setting, such as ``cluster.k``, or of ``training``, such as ``training.batch_size``; a free
            name where the axis is made of variants.
        title: words for it.
        points: in ascending order where all values are numbers, else the method's own first.
        monitors: losses and other logged numbers that show what the axis does to training.
        setting: whether the name is a setting's.
    """

    name: str
    title: str
    points: tuple[Point, ...]
    monitors: tuple[str, ...]
    setting: bool

    @property
    def file(self) -> str:
        """Stem of its table and figure."""
        return f"ablation_{self.name.replace('.', '_')}"

    def variants(self) -> dict[str, dict[str, Any]]:
        """The variants that it adds to its method, as a method's block would declare them."""
        return {
            point.variant: {"title": f"{self.title}: {point.label}", **nested(self.name, point.value)}
            for point in self.points
            if self.setting and not point.default
        }


def nested(name: str, value: Any) -> dict[str, Any]:
    """``{"settings": {"cluster": {"k": 2}}}`` for ``cluster.k`` and 2; a key of ``training`` stays there."""
    *outer, last = name.split(".") if name.startswith(TRAINING) else ["settings", *name.split(".")]
    change: dict[str, Any] = {last: value}
    for key in reversed(outer):
        change = {key: change}
    return change


def text(value: Any) -> str:
    """A value as a variant's name has it: 5 and 5.0 are one value."""
    number = isinstance(value, float) and value.is_integer() and abs(value) < 1e15
    return value if isinstance(value, str) else json.dumps(int(value) if number else value)


def main_variant(block: Mapping[str, Any]) -> str:
    """The variant that changes nothing: ``full`` where a method declares it so, else ``base``."""
    declared = block.get("variants", {})
    changed = (declared.get("full") or {}).keys() & {"settings", "training"}
    return "full" if "full" in declared and not changed else "base"


def axis(config: Mapping[str, Any], method: str, name: str, file: str = "") -> Axis:
    """One axis of a method's block.

    Args:
        config: a merged configuration.
        method: a method that has a block.
        name: an axis of its ``sweep``.
        file: what an error begins with.

    Raises:
        UserError: no such setting or variant, a value named twice, or a setting that is no single value.
    """
    block = config["methods"][method]
    where, entry = f"{file}methods.{method}.sweep.{name}", block["sweep"][name]
    entry = {"values": entry} if isinstance(entry, list) else entry
    declared = block.get("variants", {})
    if name in declared:
        raise UserError(
            f"{where}: '{name}' is a variant already (methods.{method}.variants); the axis needs another name"
        )
    if ("values" in entry) == ("variants" in entry):
        raise UserError(f"{where}: must have either values, of the setting '{name}', or variants")
    words, main = entry.get("labels", {}), main_variant(block)
    if "variants" in entry:
        for variant in entry["variants"]:
            if variant not in declared:
                raise unknown("variant", variant, declared, where)
        titles = {key: str((declared.get(key) or {}).get("title", key)) for key in (main, *entry["variants"])}
        points = [Point(key, key, words.get(key, title), key == main) for key, title in titles.items()]
    else:
        own = current(config, block, name, where)
        points = [
            Point(
                value,
                main if value == own else f"{name}-{text(value)}",
                words.get(text(value), text(value)),
                value == own,
            )
            for value in in_order([own, *(value for value in entry["values"] if value != own)])
        ]
        names = [text(value) for value in entry["values"]]
        if twice := [value for value in names if names.count(value) > 1]:
            raise UserError(f"{where} = [{', '.join(names)}]: {twice[0]} is named twice")
        if odd := [value for value in names if not re.fullmatch("[A-Za-z0-9_.-]+", value)]:
            raise UserError(f"{where}: '{odd[0]}' is no name of a folder (allowed: letters, digits, _ . -)")
    return Axis(name, entry.get("title", name), tuple(points), tuple(entry.get("monitors", ())), "values" in entry)


def current(config: Mapping[str, Any], block: Mapping[str, Any], name: str, where: str) -> Any:
    """The method's own value of a setting.

    Raises:
        UserError: there is no such setting, or it is no single value.
    """
    training = {**config["training"], **block.get("training", {})}
    node: Any = {"training": training} if name.startswith(TRAINING) else block.get("settings", {})
    for depth, key in enumerate(name.split(".")):
        if not isinstance(node, Mapping) or key not in node:
            known = node if isinstance(node, Mapping) else ()
            before = ".".join(name.split(".")[:depth])
            raise unknown("setting", key, known, f"{where}: {before}" if before else where)
        node = node[key]
    if isinstance(node, Mapping | list):
        raise UserError(f"{where}: is no single value but {json.dumps(node)[:80]}")
    return node


def in_order(values: list[Any]) -> list[Any]:
    """Numbers ascending; anything else as it is."""
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return sorted(values) if numbers else values


def variants(config: Mapping[str, Any], method: str) -> dict[str, Any]:
    """Every variant of a method: ``base``, what its block declares and what its axes add."""
    block = config["methods"][method]
    found: dict[str, Any] = {"base": {}, **block.get("variants", {})}
    for name in block.get("sweep", {}):
        found |= axis(config, method, name).variants()
    return found


def spread(config: Mapping[str, Any], method: str, names: Iterable[str]) -> Iterator[str]:
    """The variants that a grid's list names for one method, axes spread out into their points."""
    axes = config["methods"].get(method, {}).get("sweep", {})
    for name in names:
        if name in axes:
            yield from (point.variant for point in axis(config, method, name).points)
        else:
            yield name


def planned(config: Mapping[str, Any], runs: Sequence[Mapping[str, Any]], file: str) -> dict[str, dict[str, Any]]:
    """The axes that a suite's grid names, for its plan: by name the title, the files' stem, the points of each method.

    Args:
        config: a checked configuration.
        runs: the config.json of each planned run.
        file: that holds the grid, for an error.

    Raises:
        UserError: a data set or a regime changes the setting of an axis, so that its points are not what they say.
    """
    found: dict[str, dict[str, Any]] = {}
    for block in config["grid"]:
        for method in block["methods"]:
            for name in block.get("variants", ()):
                if name not in config["methods"].get(method, {}).get("sweep", {}):
                    continue
                one = axis(config, method, name)
                entry = {"title": one.title, "file": one.file, "monitors": list(one.monitors), "points": {}}
                points = [{**vars(point), "value": text(point.value)} for point in one.points]
                found.setdefault(name, entry)["points"][method] = points
                if one.setting:
                    verify(one, method, runs, file)
    return found


def verify(one: Axis, method: str, runs: Iterable[Mapping[str, Any]], file: str) -> None:
    """Whether each run on an axis has the value that its point says.

    Raises:
        UserError: it has another one.
    """
    values = {point.variant: point.value for point in one.points}
    for run in runs:
        if run["method"] != method or run["variant"] not in values:
            continue
        node = run["settings"] if one.name.startswith(TRAINING) else run["settings"]["method"]
        for key in one.name.split("."):
            node = node[key]
        if node != values[run["variant"]]:
            raise UserError(
                f"{file}: grid: {one.name} of {method} is {text(node)} on {run['dataset']} under {run['augmentation']},"
                f" where the axis has {text(values[run['variant']])}; leave these out of the axis's block"
            )
