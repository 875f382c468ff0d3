"""Axes of an ablation: settings that are varied, and the variants that have their values. Imports no torch.

A method's block says ``sweep: {cluster.k: [1, 2, 4]}``, or with several settings, whose product is then taken,
``sweep: {sizes: {values: {cluster.k: [1, 2], cluster.bank: [1024, 10240]}}}``. Each point becomes a variant such as
``cluster.k-2`` that changes these settings alone; the point of the method's own values is the variant ``full``, or
``base``, which the suite has anyway. An axis may instead name variants of the block.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from structgan.config import merge
from structgan.errors import UserError, unknown

TRAINING = "training."


@dataclass(frozen=True)
class Point:
    """One point of an axis.

    Attributes:
        values: by setting; empty where the axis is made of variants.
        variant: that has them.
        label: words for them.
        default: whether they are the method's own.
    """

    values: Mapping[str, Any]
    variant: str
    label: str
    default: bool

    @property
    def value(self) -> str:
        """The values as text, the variant where there are none."""
        return ", ".join(map(text, self.values.values())) or self.variant

    def change(self) -> dict[str, Any]:
        """What the variant changes, as a method's block would declare it."""
        change: dict[str, Any] = {}
        for name, value in self.values.items():
            change = merge(change, nested(name, value))
        return change


@dataclass(frozen=True)
class Axis:
    """What an ablation varies.

    Attributes:
        name: the key of a setting, such as ``cluster.k`` or ``training.batch_size``; any name where the axis has
            several settings or is made of variants.
        title: words for it.
        points: in ascending order where all values are numbers, else the method's own first.
        monitors: logged numbers that show what the axis does to training.
    """

    name: str
    title: str
    points: tuple[Point, ...]
    monitors: tuple[str, ...]

    @property
    def file(self) -> str:
        """Stem of its table and figure."""
        return f"ablation_{self.name.replace('.', '_')}"

    def variants(self) -> dict[str, dict[str, Any]]:
        """The variants that it adds to its method."""
        added = (point for point in self.points if point.values and not point.default)
        return {point.variant: {"title": f"{self.title}: {point.label}", **point.change()} for point in added}


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


def axis(config: Mapping[str, Any], method: str, name: str, where: Callable[..., str]) -> Axis:
    """One axis of a method's block.

    Args:
        config: a checked configuration.
        method: a method that has a block.
        name: an axis of its ``sweep``.
        where: file and key of a path of the configuration, as an error begins.

    Raises:
        UserError: no such setting or variant, a value named twice, or a setting that is not a single value.
    """
    block = config["methods"][method]
    place, entry = where("methods", method, "sweep", name), block["sweep"][name]
    entry = {"values": entry} if isinstance(entry, list) else entry
    declared, words, main = block.get("variants", {}), entry.get("labels", {}), main_variant(block)
    if name in declared:
        raise UserError(f"{place}: '{name}' is a variant already (methods.{method}.variants): choose another name")
    if ("values" in entry) == ("variants" in entry):
        raise UserError(f"{place}: must have either values, of the setting '{name}', or variants")
    if "variants" in entry:
        for variant in entry["variants"]:
            if variant not in declared:
                raise unknown("variant", variant, declared, place)
        titles = {key: str((declared.get(key) or {}).get("title", key)) for key in (main, *entry["variants"])}
        points = [Point({}, key, words.get(key, title), key == main) for key, title in titles.items()]
    else:
        given = entry["values"] if isinstance(entry["values"], Mapping) else {name: entry["values"]}
        own = {key: current(config, block, key, place) for key in given}
        listed = [
            in_order(own[key], values, f"{place} = [{', '.join(map(text, values))}]") for key, values in given.items()
        ]
        points = []
        for values in itertools.product(*listed):
            here = dict(zip(given, values, strict=True))
            other = {key: value for key, value in here.items() if value != own[key]}
            variant = "_".join(f"{key}-{text(value)}" for key, value in other.items()) or main
            label = ", ".join(words.get(text(value), text(value)) for value in values)
            points.append(Point(here, variant, label, not other))
    return Axis(name, entry.get("title", name), tuple(points), tuple(entry.get("monitors", ())))


def current(config: Mapping[str, Any], block: Mapping[str, Any], name: str, place: str) -> Any:
    """The method's own value of a setting.

    Raises:
        UserError: there is no such setting, or it is not a single value.
    """
    training = merge(config["training"], block.get("training", {}))
    node: Any = {"training": training} if name.startswith(TRAINING) else block.get("settings", {})
    for depth, key in enumerate(name.split(".")):
        if not isinstance(node, Mapping) or key not in node:
            before = ".".join(name.split(".")[:depth])
            known = node if isinstance(node, Mapping) else ()
            raise unknown("setting", key, known, f"{place}: {before}" if before else place)
        node = node[key]
    if isinstance(node, Mapping | list):
        raise UserError(f"{place}: {name} is not a single value but {json.dumps(node)[:80]}")
    return node


def in_order(own: Any, given: list[Any], place: str) -> list[Any]:
    """A method's own value and the given ones: numbers ascending, anything else with the own one first.

    Raises:
        UserError: a value comes twice, or would be no name of a folder.
    """
    names = [text(value) for value in given]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"{place}: {twice[0]} is named twice")
    if odd := [name for name in names if not re.fullmatch("[A-Za-z0-9_.-]+", name)]:
        raise UserError(f"{place}: '{odd[0]}' cannot name a folder (allowed: letters, digits, _ . -)")
    values = [own, *(value for value in given if value != own)]
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return sorted(values) if numbers else values
