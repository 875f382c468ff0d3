"""Axes of an ablation: settings that are varied, and the variants that have their values. Imports no torch.

A method's block says ``sweep: {cluster.k: [1, 2, 4]}``, or with several settings, whose product is then taken,
``sweep: {sizes: {values: {cluster.k: [1, 2], cluster.bank: [1024, 10240]}}}``. Each point becomes a variant such as
``cluster.k-2`` that changes these settings alone; the point of the method's own values is the variant ``full``, or
``base``, which the suite has anyway. An axis may instead name variants of the block.
"""

import itertools
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from structgan.config import merge
from structgan.errors import UserError, unknown

if TYPE_CHECKING:
    from structgan.grid import RunConfig

TRAINING = "training."
MOST = 1000
"""Points that an axis may have."""


@dataclass(frozen=True)
class Point:
    """One point of an axis.

    Attributes:
        settings: values by setting; empty if the axis is made of variants.
        variant: that has them.
        label: words for them.
        default: whether they are the method's own.
    """

    settings: Mapping[str, Any]
    variant: str
    label: str
    default: bool

    @property
    def shown(self) -> dict[str, Any]:
        """What a plan says of it; ``value`` is the values as text, or the variant if there are none."""
        value = ", ".join(map(text, self.settings.values())) or self.variant
        return {"value": value, "variant": self.variant, "label": self.label, "default": self.default}


@dataclass(frozen=True)
class Axis:
    """What an ablation varies.

    Attributes:
        name: the key of a setting, such as ``cluster.k`` or ``training.batch_size``; any name if the axis has several
            settings or is made of variants.
        title: words for it.
        points: in ascending order if all values are numbers, else the method's own first.
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
        """The variants that it adds to its method, as a method's block would declare them."""
        found: dict[str, dict[str, Any]] = {}
        for point in (point for point in self.points if point.settings and not point.default):
            found[point.variant] = {"title": f"{self.title}: {point.label}"}
            for name, value in point.settings.items():
                keys = name.split(".") if name.startswith(TRAINING) else ["settings", *name.split(".")]
                for key in reversed(keys):
                    value = {key: value}
                found[point.variant] = merge(found[point.variant], value)
        return found


def text(value: Any) -> str:
    """A value as a variant's name has it: 5 and 5.0 are one value."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    return value if isinstance(value, str) else json.dumps(value)


def axis(config: Mapping[str, Any], method: str, name: str, where: Callable[..., str]) -> Axis:
    """The axis ``name`` of a method's ``sweep``; ``where`` is ``Grid.where``, the place that an error names."""
    block, place = config["methods"][method], where("methods", method, "sweep", name)
    entry = block["sweep"][name]
    if isinstance(entry, list):
        entry = {"values": entry}
    declared = block.get("variants", {})
    if name in declared:
        raise UserError(f"{place}: '{name}' is a variant already (methods.{method}.variants): choose another name")
    if ("values" in entry) == ("variants" in entry):
        raise UserError(f"{place}: must have either values, of the setting '{name}', or variants")
    changed = (declared.get("full") or {}).keys() & {"settings", "training"}
    main = "full" if "full" in declared and not changed else "base"
    words, title = entry.get("labels", {}), entry.get("title", name)
    points = []
    if "variants" in entry:
        for variant in entry["variants"]:
            if variant not in declared:
                raise unknown("variant", variant, declared, place)
        for variant in dict.fromkeys([main, *entry["variants"]]):
            label = words.get(variant, str((declared.get(variant) or {}).get("title", variant)))
            points.append(Point({}, variant, label, variant == main))
    else:
        given = entry["values"] if isinstance(entry["values"], Mapping) else {name: entry["values"]}
        if (count := math.prod(map(len, given.values()))) > MOST:
            raise UserError(f"{place}: has {count} points (at most {MOST})")
        own = {key: own_value(config, block, key, place) for key in given}
        for values in itertools.product(*(in_order(own[key], listed, place) for key, listed in given.items())):
            settings = dict(zip(given, values, strict=True))
            other = {key: value for key, value in settings.items() if value != own[key]}
            variant = "_".join(f"{key}-{text(value)}" for key, value in other.items()) or main
            label = ", ".join(words.get(text(value), text(value)) for value in values)
            points.append(Point(settings, variant, label, not other))
    return Axis(name, title, tuple(points), tuple(entry.get("monitors", ())))


def own_value(config: Mapping[str, Any], block: Mapping[str, Any], name: str, place: str) -> Any:
    """The method's own value of a setting; refused if there is no such setting, or it is not a single value."""
    node: Any = block.get("settings", {})
    if name.startswith(TRAINING):
        node = {"training": merge(config["training"], block.get("training", {}))}
    for key in name.split("."):
        if not isinstance(node, Mapping) or key not in node:
            raise unknown("setting", key, node if isinstance(node, Mapping) else (), f"{place}: {name}")
        node = node[key]
    if isinstance(node, Mapping | list):
        raise UserError(f"{place}: {name} is not a single value but {json.dumps(node)[:80]}")
    return node


def in_order(own: Any, given: Sequence[Any], place: str) -> list[Any]:
    """A method's own value and the given ones: numbers ascending, anything else with the own one first."""
    names = [text(value) for value in given]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{place} = [{', '.join(names)}]: {name} is named twice")
        if not re.fullmatch("[A-Za-z0-9_.-]+", name):
            raise UserError(f"{place}: '{name}' cannot name a folder (allowed: letters, digits, _ . -)")
    values = [own, *(value for value in given if value != own)]
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return sorted(values) if numbers else values


def check(axis: Axis, method: str, runs: Sequence["RunConfig"], where: Callable[..., str]) -> None:
    """Refuse an axis where a data set or an augmentation changes its setting: a point would not be what it says."""
    points = {point.variant: point.settings for point in axis.points}
    for run in (run for run in runs if run.method == method and run.variant in points):
        for name, value in points[run.variant].items():
            node: Any = run.settings if name.startswith(TRAINING) else run.settings["method"]
            for key in name.split("."):
                node = node[key]
            if node != value:
                raise UserError(
                    f"{where('grid')}: {name} of {method} is {text(node)} on {run.dataset} under {run.augmentation},"
                    f" where the axis has {text(value)}; leave these out of its block"
                )
