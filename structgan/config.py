"""From configuration files to the resolved settings and the identity of a run. Imports no torch.

Files are merged in order, as Snakemake merges its config files: mappings key by key, anything else replaced. Then
common < data set < method < augmentation < variant gives the settings of one run. A method's ``sweep`` adds variants.
"""

from __future__ import annotations

import copy
import difflib
import functools
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from structgan import builders, cells, sources, sweep
from structgan.errors import UserError, limits, unknown

SCHEMAS = sources.ROOT / "workflow" / "schemas"
PARTS = "parts.yaml"
"""What the schemas of several methods refer to."""
BASE = sources.ROOT / "workflow" / "config" / "config.yaml"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Resolved: TypeAlias = dict[tuple[str, ...], dict[str, Any]]
"""What ``resolve`` said of one configuration's cells, by all that names them but the seed: a grid's seeds share it."""


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``over`` laid on top: mappings key by key, everything else replaced. Neither is changed."""
    merged = dict(copy.deepcopy(base))
    for key, value in over.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(old, value) if both else copy.deepcopy(value)  # type: ignore[arg-type]
    return merged


def read(path: str | Path) -> dict[str, Any]:
    """One YAML file as a mapping.

    Raises:
        UserError: it cannot be read, is not YAML or is no mapping.
    """
    try:
        value = parsed(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such configuration file") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: must be a mapping of keys, found {type(value).__name__}")
    return copy.deepcopy(value)


@functools.cache
def parsed(text: str) -> Any:
    """The content of a YAML text: planning asks the same few files again and again where a key comes from."""
    return LOADER(text).get_single_data()


def load(paths: Iterable[str | Path]) -> dict[str, Any]:
    """The base configuration with the given files laid on top, checked."""
    files = [str(path) for path in (BASE, *paths)]
    merged = functools.reduce(merge, map(read, files))
    check(merged, files)
    return merged


def check(config: Mapping[str, Any], files: Iterable[str]) -> None:
    """Types, ranges and keys of a merged configuration against ``workflow/schemas``.

    Args:
        config: the merged configuration.
        files: where it came from, last one first in force; an error names the one that holds the key.

    Raises:
        UserError: the first violation, as one line.
    """
    names = list(files)
    finite(config, (), names)
    validate(config, SCHEMAS / "config.schema.yaml", (), names)
    for name, block in config["datasets"].items():
        check_dataset(name, block, names)
    known = sources.methods()
    for method in config["methods"]:
        if method not in known:
            raise unknown("method", method, known, f"{origin(('methods', method), names)}, no file in baselines/")
    for method, block in config["methods"].items():
        for variant, change in {"base": {}, **block.get("variants", {})}.items():
            try:
                cells.lineage(config, {"method": method, "variant": variant})
            except UserError as error:
                path = ("variants", variant, "upstream") if "upstream" in (change or {}) else ("upstream",)
                raise UserError(f"{origin(('methods', method, *path), names)}: {error}") from error
        own = SCHEMAS / "methods" / f"{method}.yaml"
        if own.exists():
            settings = block.get("settings", {})
            validate(settings, own, ("methods", method, "settings"), names)
            for variant, change in block.get("variants", {}).items():
                changed = merge(settings, (change or {}).get("settings", {}))
                validate(changed, own, ("methods", method, "variants", variant, "settings"), names)
        for axis in block.get("sweep", {}):
            check_axis(config, method, axis, own, names)


def check_dataset(name: str, block: Mapping[str, Any], files: list[str]) -> None:
    """Refuse an unknown builder of a data set, and a setting that its builder does not know or allow."""

    def where(key: str) -> str:
        return f"{origin(('datasets', name, *([key] if key in block else [])), files)}: datasets.{name}"

    builders.resolve(block, where)


def check_axis(config: Mapping[str, Any], method: str, name: str, own: Path, files: list[str]) -> None:
    """Refuse an axis of a method's ``sweep`` that makes no sense, or a value that the setting's schema forbids."""
    where = origin(("methods", method, "sweep", name), files)
    for change in sweep.axis(config, method, name, f"{where}: ").variants().values():
        if "training" in change:
            validate(merge(config, change), SCHEMAS / "config.schema.yaml", (f"methods.{method}.sweep",), [where])
        elif own.exists():
            changed = merge(config["methods"][method]["settings"], change["settings"])
            validate(changed, own, (f"methods.{method}.sweep",), [where])


def finite(value: Any, path: tuple[str, ...], files: list[str]) -> None:
    """Refuse infinity and NaN, which YAML can write, which pass every range of a schema, and which JSON cannot hold."""
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{origin(path, files)}: {'.'.join(path)} = {value}: must be finite")
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        finite(item, (*path, str(key)), files)


def validate(value: Any, schema_file: Path, prefix: tuple[str, ...], files: list[str]) -> None:
    """Check ``value`` against a schema; ``prefix`` is where it stands in the configuration."""
    import jsonschema
    from referencing import Registry
    from referencing.jsonschema import DRAFT202012

    parts = DRAFT202012.create_resource(read(SCHEMAS / PARTS))
    registry = Registry().with_resource(PARTS, parts)
    validator = jsonschema.Draft202012Validator(read(schema_file), registry=registry)
    errors = sorted(validator.iter_errors(value), key=lambda e: ([str(p) for p in e.absolute_path], e.message))
    for error in errors:
        raise UserError(describe(error, prefix, files))


def describe(error: Any, prefix: tuple[str, ...], files: list[str]) -> str:
    """One line for a schema violation: file, key, value, allowed set."""
    path = (*prefix, *(str(part) for part in error.absolute_path))
    if error.validator == "additionalProperties":
        allowed = sorted(error.schema.get("properties", {}))
        extra = next(key for key in error.instance if key not in allowed)
        key = ".".join((*path, str(extra)))
        near = difflib.get_close_matches(str(extra), allowed, n=1, cutoff=0.5)
        hint = f", did you mean '{near[0]}'?" if near else ""
        return f"{origin((*path, str(extra)), files)}: unknown key '{key}'{hint} (allowed: {', '.join(allowed)})"
    what = error.schema.get("description")
    note = f" [{what}]" if what and error.validator != "required" else ""
    value = "" if error.validator == "required" else f" = {json.dumps(error.instance, default=str)[:80]}"
    reason = error.message if error.validator == "required" else limits(error)
    return f"{origin(path, files)}: {'.'.join(path) or 'configuration'}{value}: {reason}{note}"


def origin(path: tuple[str, ...], files: list[str]) -> str:
    """The last file that holds the key, so that an error points where the user has to look."""
    for file in reversed(files):
        try:
            node: Any = read(file)
        except UserError:
            continue
        for part in path:
            if isinstance(node, list) and part.isdigit() and int(part) < len(node):
                node = node[int(part)]
            elif isinstance(node, dict) and part in node:
                node = node[part]
            else:
                break
        else:
            return short(file)
    return " + ".join(short(file) for file in files) or "configuration"


def short(file: str) -> str:
    """A path relative to the repository where it lies in it."""
    path = Path(file).resolve()
    return str(path.relative_to(sources.ROOT)) if path.is_relative_to(sources.ROOT) else file


def pick(config: Mapping[str, Any], section: str, kind: str, name: str) -> dict[str, Any]:
    """The block ``section.name``.

    Raises:
        UserError: there is none; the nearest known name is offered.
    """
    blocks = config[section]
    if name not in blocks:
        raise unknown(kind, name, blocks, f"{section}")
    return dict(blocks[name] or {})


def resolve(config: Mapping[str, Any], cell: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of one run: ``dataset``, ``training``, ``method`` and ``augmentation``.

    Args:
        config: a checked configuration.
        cell: the names ``dataset``, ``method``, ``augmentation``, ``variant``.

    Raises:
        UserError: an unknown name, or a variant that is not the method's.
    """
    dataset = pick(config, "datasets", "data set", cell["dataset"])
    sources.method_file(cell["method"])
    method = pick(config, "methods", "method", cell["method"])
    regime = pick(config, "augmentations", "augmentation regime", cell["augmentation"])
    variants = sweep.variants(config, cell["method"])
    if cell["variant"] not in variants:
        known = {**variants, **method.get("sweep", {})}
        raise unknown("variant", cell["variant"], known, f"methods.{cell['method']}.variants")
    variant = variants[cell["variant"]] or {}
    training = dict(config["training"])
    for block in (dataset, method, regime, variant):
        training = merge(training, block.get("training", {}))
    settings = merge(method.get("settings", {}), variant.get("settings", {}))
    return {
        "dataset": {key: value for key, value in dataset.items() if key not in ("title", "training")},
        "training": training,
        "method": settings,
        "augmentation": {key: value for key, value in regime.items() if key not in ("title", "training")},
    }


def run_config(config: Mapping[str, Any], cell: Mapping[str, Any], seen: Resolved | None = None) -> dict[str, Any]:
    """The content of a run's config.json: names, resolved settings, digest of the sources, upstream run, identity.

    The identity of the run that it depends on is part of its own. ``seen`` is added to.
    """
    seen = {} if seen is None else seen
    names = {key: cell[key] for key in ("dataset", "method", "augmentation", "variant")}
    shape = tuple(names.values())
    if shape not in seen:
        seen[shape] = resolve(config, cell)
    content = {
        "suite": config["suite"],
        **names,
        "seed": cell["seed"],
        "settings": seen[shape],
        "sources": sources.run_digest(cell["method"]),
    }
    for above in cells.lineage(config, cell)[:1]:
        identity = run_config(config, above, seen)["identity"]
        content["upstream"] = {"run": cells.run_folder(config["suite"], above), "identity": identity}
    return {**content, "identity": sources.fingerprint(content)}
