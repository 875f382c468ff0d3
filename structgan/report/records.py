"""Reads a suite: plan.json names the runs, each run's probe.json and fidelity.json hold its numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from structgan.errors import UserError
from structgan.files import read_json
from structgan.identity import seal, standing
from structgan.identity.protocol import OPTIONAL

ACCURACIES = {"linear": "top1", "svm": "top1", "kmeans": "accuracy", "knn": "top1"}
READOUTS = {"": "h", "_live": "h_live", "_e": "e", "_e_live": "e_live"}
RELEASE = {f"kmeans_release{suffix}": ("kmeans_release", readout) for suffix, readout in READOUTS.items()}
RELEASE |= {"online_probe": ("online_probe", "top1"), "online_probe_ema": ("online_probe", "top1_ema")}
GENERATION = ("fid", "is", "kid", "precision", "recall")
SECTIONS = {"dataset": "datasets", "method": "methods", "augmentation": "augmentations", "variant": "variants"}
KEYS = ("suite", "datasets", "methods", "augmentations", "variants", "evaluation", "cells")


class Group(NamedTuple):
    """What a row of a table stands for: the same configuration under every seed."""

    dataset: str
    method: str
    augmentation: str
    variant: str


@dataclass(frozen=True)
class Suite:
    """One suite as it stands on the disk.

    Attributes:
        file: the plan.json that was read.
        plan: its content.
        frame: one row per planned run: dataset, method, augmentation, variant, seed, run (as the plan names it),
            folder, identity, probe and fidelity (``finished``, ``stale``, ``missing``, or ``none`` where the method
            cannot sample), converged, a float column per metric (accuracies in [0, 1]; NaN where there is no number).
        probes: probe.json by row of ``frame``, of the runs whose numbers count.
        fidelities: fidelity.json, likewise.
        extras: results of each of ``OPTIONAL``, likewise; the frame has a column of states for each that is asked for.
        few_labels: names of the probes with a fraction of the labels, smallest fraction first.
        include_stale: whether numbers of another identity count.
        lists: the frame's columns as lists (a thousand small look-ups in a frame cost seconds).
        groups: the frame's rows of each configuration; not_applicable: the reason of each declared one.
        ordered: every group, planned or declared not applicable, in the plan's order.
        main_variants: by method, ``full`` or the first variant that the plan runs.
    """

    file: Path
    plan: dict[str, Any]
    frame: pd.DataFrame
    probes: dict[int, dict[str, Any]]
    fidelities: dict[int, dict[str, Any]]
    extras: dict[str, dict[int, dict[str, Any]]]
    few_labels: tuple[str, ...]
    include_stale: bool
    lists: dict[str, list[Any]]
    groups: dict[Group, list[int]]
    not_applicable: dict[Group, str]
    ordered: list[Group]
    main_variants: dict[str, str]

    def title(self, kind: str, key: str) -> str:
        """The words for a key; ``kind`` is dataset, method, augmentation or variant."""
        return str(self.plan[SECTIONS[kind]].get(key, {}).get("title") or key)

    def method(self, key: str) -> Mapping[str, Any]:
        """The plan's entry of a method: title, kind, uses_labels, samples."""
        entry: Mapping[str, Any] = self.plan["methods"].get(key, {})
        return entry

    def samples(self, method: str) -> bool:
        """Whether a method can sample."""
        return bool(self.method(method).get("samples"))

    @property
    def contrast(self) -> str:
        """The method that augmentation dependence is told against: the plan's ``contrast``, or the paper's."""
        return str(self.plan.get("contrast", "simclr"))

    @property
    def main_method(self) -> str:
        """The method whose rows the others are tested against: the plan's ``main``, or its first of kind method."""
        own = (key for key, entry in self.plan["methods"].items() if entry.get("kind") == "method")
        return str(self.plan.get("main") or next(own, ""))

    def values(self, group: Group, column: str) -> list[Any]:
        """A column of the frame for every planned run of a group, in order of the seeds."""
        return [self.lists[column][row] for row in self.groups.get(group, [])]

    def main_variant(self, method: str) -> str:
        """The variant that stands for a method: ``full``, or the first that the plan runs."""
        return self.main_variants.get(method, "full")

    def chance(self, dataset: str) -> float | None:
        """Accuracy of guessing, 1 / classes; None where the number of classes is not known."""
        rows = self.frame.index[self.frame["dataset"] == dataset]
        found = [self.probes[row].get("dataset", {}).get("classes") for row in rows if row in self.probes]
        classes = self.plan["datasets"].get(dataset, {}).get("classes") or next(filter(None, found), None)
        count = len(classes) if isinstance(classes, list | tuple) else classes
        return 1.0 / count if isinstance(count, int) and count > 0 else None


def rank(plan: Mapping[str, Any], kind: str, key: str) -> int:
    """Place of a key in the plan's own order; unknown keys come last."""
    order = list(plan[SECTIONS[kind]])
    return order.index(key) if key in order else len(order)


def base_folder(plan_file: Path, run: str) -> Path:
    """The folder that the plan's run paths are relative to.

    ``results/runs/demo/plan.json`` names runs as ``results/runs/demo/…``: what the two paths share is cut off, so that
    the answer does not depend on the working directory. Paths that share nothing are relative to the working directory.
    """
    parent, parts = plan_file.absolute().parent, Path(run).parts
    for length in range(len(parts), 0, -1):
        if parent.parts[-length:] == parts[:length]:
            return parent.parents[length - 1]
    return Path()


def results(suite: Suite) -> str:
    """One digest of the plan and of every result that it names, as they are on the disk."""
    return seal.results(
        suite.file, [base_folder(suite.file, cell["run"]) / cell["run"] for cell in suite.plan["cells"]]
    )


def sign(suite: Suite, folder: Path, made: list[Path]) -> Path:
    """Write a folder's made_from.json: checksums of its files and of the results that they were made from."""
    path = folder / "made_from.json"
    record = {"suite": suite.plan["suite"], "include_stale": suite.include_stale}
    seal.write(path, record, made, results=results(suite))
    return path


def number(entry: Any, *keys: str) -> float:
    """A finite number inside nested mappings, NaN where there is none."""
    for key in keys:
        entry = entry.get(key) if isinstance(entry, Mapping) else None
    ok = isinstance(entry, int | float) and not isinstance(entry, bool) and math.isfinite(entry)
    return float(entry) if ok else math.nan


def read(plan_file: str | Path, include_stale: bool = False) -> Suite:
    """Read a plan and every run's numbers.

    Args:
        plan_file: results/runs/<suite>/plan.json.
        include_stale: count numbers whose identity, protocol or sources are not the plan's; by default such a
            run is not finished.

    Raises:
        UserError: the plan or a run's JSON is missing a key or damaged.
    """
    file = Path(plan_file)
    plan = read_json(file)
    for key in KEYS:
        if not isinstance(plan, dict) or key not in plan:
            raise UserError(f"{file}: key '{key}' is missing (needed: {', '.join(KEYS)})")
    rows: list[dict[str, Any]] = []
    probes: dict[int, dict[str, Any]] = {}
    fidelities: dict[int, dict[str, Any]] = {}
    extras: dict[str, dict[int, dict[str, Any]]] = {kind: {} for kind in OPTIONAL}
    extra = [kind for kind in OPTIONAL if kind in plan["evaluation"]]
    for cell in sorted(plan["cells"], key=lambda cell: _order(plan, file, cell)):
        folder = base_folder(file, cell["run"]) / cell["run"]
        row = {key: cell[key] for key in (*SECTIONS, "seed", "run", "identity")} | {"folder": str(folder)}
        strays = standing.estranged(folder, cell)
        row["probe"], probe = _result(folder, "probe", cell, plan, strays, include_stale)
        can_sample = bool(plan["methods"].get(cell["method"], {}).get("samples"))
        row["fidelity"], fidelity = "none", None
        if can_sample:
            row["fidelity"], fidelity = _result(folder, "fidelity", cell, plan, strays, include_stale)
        for kind in extra:
            row[kind], found = "none", None
            if kind in standing.asked(plan, cell):
                row[kind], found = _result(folder, kind, cell, plan, strays, include_stale)
            if found is not None:
                extras[kind][len(rows)] = found
        row["converged"] = True
        if probe is not None:
            probes[len(rows)] = probe
            for name, entry in probe.get("metrics", {}).items():
                row[name] = number(entry, ACCURACIES.get(name, "top1"))
                row["converged"] &= entry.get("converged") is not False
            row |= {name: number(probe.get("metrics"), *place) for name, place in RELEASE.items()}
        if fidelity is not None:
            fidelities[len(rows)] = fidelity
            row |= {name: number(fidelity.get("metrics"), name) for name in GENERATION}
        rows.append(row)
    few = _few_labels(plan, rows)
    names = [*SECTIONS, "seed", "run", "identity", "folder", "probe", "fidelity", *extra, "converged"]
    frame = pd.DataFrame(rows, columns=[*names, *ACCURACIES, *RELEASE, *few, *GENERATION])
    frame = frame.astype(dict.fromkeys([*ACCURACIES, *RELEASE, *few, *GENERATION], float))
    groups: dict[Group, list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault(Group(*(row[key] for key in SECTIONS)), []).append(index)
    declared = plan.get("not_applicable", [])
    excluded = {Group(*(str(one.get(key, "")) for key in SECTIONS)): str(one.get("reason", "")) for one in declared}
    places = {kind: {key: place for place, key in enumerate(plan[name])} for kind, name in SECTIONS.items()}
    ordered = sorted(
        [*groups, *(group for group in excluded if group not in groups)],
        key=lambda group: [places[kind].get(key, len(places[kind])) for kind, key in zip(SECTIONS, group, strict=True)],
    )
    mains: dict[str, str] = {}
    for group in sorted(ordered, key=lambda group: places["variant"].get(group.variant, len(places["variant"]))):
        mains[group.method] = "full" if group.variant == "full" else mains.get(group.method, group.variant)
    lists = {name: frame[name].tolist() for name in frame.columns}
    return Suite(
        file, plan, frame, probes, fidelities, extras, few, include_stale, lists, groups, excluded, ordered, mains
    )


def _order(plan: Mapping[str, Any], file: Path, cell: Mapping[str, Any]) -> tuple[Any, ...]:
    for key in (*SECTIONS, "seed", "run", "identity"):
        if key not in cell:
            raise UserError(f"{file}: a cell has no key '{key}': {dict(cell)}")
    return (*(rank(plan, kind, cell[kind]) for kind in SECTIONS), int(cell["seed"]))


def _result(
    folder: Path, kind: str, cell: Mapping[str, Any], plan: Mapping[str, Any], strays: str | None, include_stale: bool
) -> tuple[str, dict[str, Any] | None]:
    path = folder / f"{kind}.json"
    if not path.exists():
        return "missing", None
    result = read_json(path)
    if not isinstance(result, dict):
        raise UserError(f"{path}: not a JSON object")
    if not (strays or standing.fault(result, cell["identity"], plan["evaluation"].get(kind))):
        return "finished", result
    return "stale", result if include_stale else None


def _few_labels(plan: Mapping[str, Any], rows: list[dict[str, Any]]) -> tuple[str, ...]:
    """Names such as ``linear_1pct``: the protocol's fractions and whatever the runs hold."""
    fractions = plan.get("protocol", {}).get("few_labels", {}).get("fractions", [])
    names = {f"linear_{100 * fraction:g}pct" for fraction in fractions}
    names |= {name for row in rows for name in row if name.startswith("linear_") and name.endswith("pct")}
    return tuple(sorted(names, key=lambda name: float(name.removeprefix("linear_").removesuffix("pct"))))
