"""The plan of a suite: every cell of its grid, where its run lives, and what identity that run must have.

Only the planning process writes it (a Snakefile being parsed, or ``structgan configure``), never a cluster job, and a
file is touched only when its content changes: an unchanged plan plans no work. Imports no torch.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from structgan import config as configuration
from structgan import published, regime, sources, sweep
from structgan.cells import NAMES, lineage, run_folder
from structgan.errors import UserError, unknown
from structgan.files import write_json, write_json_if_changed
from structgan.identity import claims, protocol, stamps, standing


def cells(config: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every combination that the grid names, once, in the order of the grid."""
    seen: set[tuple[Any, ...]] = set()
    for block in config["grid"]:
        for outer in itertools.product(block["datasets"], block["methods"], block["augmentations"]):
            variants = sweep.spread(config, outer[1], block.get("variants", ["base"]))
            for inner in itertools.product(variants, block["seeds"]):
                if (values := (*outer, *inner)) not in seen:
                    seen.add(values)
                    yield dict(zip(NAMES, values, strict=True))


def exclusion(config: Mapping[str, Any], cell: Mapping[str, Any]) -> str | None:
    """Why a cell makes no sense, as its method's block declares, or None."""
    declared = config["methods"].get(cell["method"], {}).get("not_applicable", {})
    for name in declared:
        if name not in config["augmentations"]:
            where = f"methods.{cell['method']}.not_applicable"
            raise unknown("augmentation regime", name, config["augmentations"], where)
    reason = declared.get(cell["augmentation"])
    return str(reason) if reason else None


def make(config: Mapping[str, Any], files: list[str]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The plan and the config.json of each of its runs.

    A run that others depend on is part of the plan, ahead of them, whether or not the grid names it.

    Args:
        config: a checked configuration.
        files: the configuration files that it came from, for the record.

    Raises:
        UserError: an unknown name in the grid, a method without a block, or a run that others depend on although its
            own method declares that it makes no sense.
    """
    suite = config["suite"]
    found: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
    excluded = []
    seen: configuration.Resolved = {}
    for cell in cells(config):
        own = entry(config, cell, files, seen)
        reason = exclusion(config, cell)
        if reason:
            excluded.append({**{name: cell[name] for name in NAMES[:4]}, "reason": reason})
            continue
        for above in reversed(lineage(config, cell)):
            if reason := exclusion(config, above):
                where = f"{configuration.origin(('methods', cell['method']), files)}: methods.{cell['method']}.upstream"
                named = "/".join(above[name] for name in ("method", "augmentation", "variant"))
                raise UserError(f"{where}: {named} is declared not applicable: {reason}")
            found.setdefault(run_folder(suite, above), (above, entry(config, above, files, seen)))
        found.setdefault(run_folder(suite, cell), (cell, own))
    runs: list[dict[str, Any]] = [{"folder": folder, "config": run} for folder, (_, run) in found.items()]
    planned = [
        {
            **cell,
            "run": folder,
            "identity": run["identity"],
            "steps": run["settings"]["training"]["steps"],
            **{key: run[key] for key in ("upstream",) if key in run},
        }
        for folder, (cell, run) in found.items()
    ]
    if not planned:
        raise UserError(f"{files[-1] if files else 'configuration'}: grid names no run that makes sense")
    used = {name: list(dict.fromkeys(cell[name] for cell in planned)) for name in NAMES}
    evaluation = evaluated(config, used["dataset"], files)
    plan = {
        "suite": suite,
        "title": config["title"],
        "note": config["note"],
        "configfiles": [configuration.short(file) for file in files],
        "protocol": evaluation,
        "evaluation": {kind: protocol.mark(protocol.make(evaluation, kind)) for kind in protocol.kinds(evaluation)},
        "datasets": {name: described_dataset(config, name) for name in used["dataset"]},
        "methods": {name: describe_method(config, name) for name in used["method"]},
        "augmentations": {
            name: {"title": block.get("title", name)}
            for name, block in config["augmentations"].items()
            if name in used["augmentation"]
        },
        "variants": {name: {"title": variant_title(config, name)} for name in used["variant"]},
        "cells": planned,
        "not_applicable": [dict(row) for row in {tuple(row.items()) for row in excluded}],
        **{key: published.rows(config, key, used["dataset"]) for key in published.FILES},
        "main": main_method(config, files),
    }
    plan["not_applicable"].sort(key=lambda row: tuple(row.values()))
    if axes := sweep.planned(config, [run["config"] for run in runs], configuration.origin(("grid",), files)):
        plan["axes"] = axes
    if "transfer" in evaluation:
        plan["transfer"] = evaluation["transfer"]["targets"]
        plan["targets"] = {name: described_dataset(config, name) for name in evaluation["transfer"]["data"]}
    return plan, runs


def entry(
    config: Mapping[str, Any], cell: Mapping[str, Any], files: list[str], seen: configuration.Resolved
) -> dict[str, Any]:
    """The config.json of a cell; ``seen`` as of ``config.run_config``.

    Raises:
        UserError: an unknown name, a regime that its images do not allow, or a batch that its GPUs cannot share.
    """
    try:
        run = configuration.run_config(config, cell, seen)
        settings = run["settings"]
        regime.resolve(settings["augmentation"], settings["dataset"]["image_size"])
    except UserError as error:
        raise UserError(f"{configuration.origin(('grid',), files)}: grid: {error}") from error
    gpus, batch_size = config["resources"]["train"]["gpu"], settings["training"]["batch_size"]
    if gpus and batch_size % gpus:
        where = configuration.origin(("resources", "train", "gpu"), files)
        raise UserError(f"{where}: resources.train.gpu = {gpus}: must divide training.batch_size = {batch_size}")
    return run


def evaluated(config: Mapping[str, Any], datasets: list[str], files: list[str]) -> dict[str, Any]:
    """The block ``evaluation`` of a suite: what it does not ask for is left out, and transfer knows its data.

    Transfer is asked for where a data set of the suite has a target. The settings of the targets are part of its
    protocol, so that a target of other settings or of another builder makes its numbers stale.

    Raises:
        UserError: an unknown target, or one of another image size that is not to be resized.
    """
    evaluation = {key: value for key, value in config["evaluation"].items() if value or key not in protocol.OPTIONAL}
    transfer = evaluation.pop("transfer", None) or {"targets": {}}
    targets = {name: transfer["targets"][name] for name in datasets if transfer["targets"].get(name)}
    if not targets:
        return evaluation
    data = {}
    for name, asked in targets.items():
        size = config["datasets"][name]["image_size"]
        for target in asked:
            where = f"evaluation.transfer.targets.{name}"
            path = ("evaluation", "transfer", "targets", name)
            if target not in config["datasets"] or target == name:
                known = [key for key in config["datasets"] if key != name]
                raise unknown("data set", target, known, f"{configuration.origin(path, files)}: {where}")
            data[target] = dataset_settings(config, target)
            if data[target]["image_size"] != size and not transfer["resize"]:
                raise UserError(
                    f"{configuration.origin(path, files)}: {where}: '{target}' has {data[target]['image_size']} pixels,"
                    f" '{name}' {size} (evaluation.transfer.resize: true makes it fit)"
                )
    return {**evaluation, "transfer": {**transfer, "targets": targets, "data": data}}


def dataset_settings(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What a data set is prepared from: its settings and the digest of its builder."""
    block = configuration.pick(config, "datasets", "data set", name)
    settings = {"name": name, **{key: value for key, value in block.items() if key not in ("title", "training")}}
    return {**settings, "sources": sources.builder_digest(block.get("builder", ""))}


def described_dataset(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Title and note of a data set."""
    block = config["datasets"][name]
    return {"title": block.get("title", name), "note": block.get("note", "")}


def describe_method(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Title and kind from the configuration, abilities from the method's class."""
    block = config["methods"][name]
    return {"title": block.get("title", name), "kind": block.get("kind", "baseline"), **sources.traits(name)}


def variant_title(config: Mapping[str, Any], name: str) -> str:
    """The title that some method's block gives a variant, or its name."""
    for method in config["methods"]:
        variant = sweep.variants(config, method).get(name)
        if variant and "title" in variant:
            return str(variant["title"])
    return name


def main_method(config: Mapping[str, Any], files: list[str]) -> str | None:
    """The method whose main row the report compares every row with; None leaves it to the report.

    Raises:
        UserError: no block has that name.
    """
    name = config.get("main")
    if name is not None and name not in config["methods"]:
        raise unknown("method", name, config["methods"], f"{configuration.origin(('main',), files)}: main")
    return name


def write(config: Mapping[str, Any], files: list[str]) -> dict[str, Any]:
    """Write the plan of a suite: plan.json, the protocols, each data set's settings, each run's config.json.

    Raises:
        UserError: bad configuration; or another planning process, such as a Snakemake that runs, holds this suite or
            one of its data sets, and what it planned is not this.
    """
    plan, runs = make(config, files)
    root = Path("results/runs") / config["suite"]
    if holder := claims.claim(f"suite-{config['suite']}"):
        if standing.optional(root / "plan.json") != plan:
            raise UserError(
                f"{root}: in use by {holder}, and this plan is another; nothing was changed, wait until that one ends"
            )
        return plan
    for name in standing.images(plan):
        settings = dataset_settings(config, name)
        file = stamps.DATA / f"{name}.json"
        changed = standing.optional(file) != settings
        if holder := claims.claim(f"data-{name}", shared=not changed):
            raise UserError(f"{file}: in use by {holder}, and this plan changes it; wait until that one ends")
        if changed:
            write_json(file, settings)
            claims.claim(f"data-{name}", shared=True)
    for run in runs:
        write_json_if_changed(f"{run['folder']}/config.json", run["config"])
    stamps.follow(plan)
    for run in runs:
        stamps.config(Path(run["folder"]), run["config"]["identity"])
    for kind in plan["evaluation"]:
        write_json_if_changed(root / "protocol" / f"{kind}.json", protocol.make(plan["protocol"], kind))
    write_json_if_changed(root / "plan.json", plan)
    stamps.settle(plan, root)
    return plan
