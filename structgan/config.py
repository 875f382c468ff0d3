"""YAML files → one checked configuration. Types, ranges and keys come from ``workflow/schemas``. Imports no torch.

Files are merged in order, as Snakemake merges its config files: mappings key by key, anything else replaced. The first
violation is raised as a ``UserError`` of one line. What concerns several keys at once is checked in ``grid`` and
``checks``.
"""

import copy
import functools
import json
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from structgan import builders, evaluation, sources
from structgan.errors import UserError, limits, unknown
from structgan.yaml_reader import OPTION, peek, read

SCHEMAS = sources.ROOT / "workflow" / "schemas"
PARTS = "parts.yaml"
"""What the schemas of several methods refer to."""
BASE = sources.ROOT / "workflow" / "config" / "config.yaml"


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``over`` laid on top: mappings key by key, everything else replaced. Neither is changed."""
    merged = dict(copy.deepcopy(base))
    for key, value in over.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(old, value) if both else copy.deepcopy(value)  # type: ignore[arg-type]
    return merged


def check_options(words: Iterable[str]) -> None:
    """Refuse an option for configurations that a command line has twice: Snakemake would silently drop the first."""
    given = [word.partition("=")[0] for word in words]
    for names in (("--configfile", "--configfiles"), ("--config", "-C")):
        if sum(map(given.count, names)) > 1:
            raise UserError(f"{names[0]} is given twice, and only the last would count: give all values after one")


def load(paths: Iterable[str | Path]) -> dict[str, Any]:
    """The base configuration with the given files laid on top, checked."""
    files = [str(path) for path in (BASE, *paths)]
    merged = functools.reduce(merge, map(read, files))
    check(merged, files)
    return merged


def check(config: Mapping[str, Any], files: Iterable[str]) -> None:
    """Types, ranges and keys of a merged configuration.

    Args:
        config: the merged configuration.
        files: the files it came from; an error names the last one that holds the key.
    """
    names = list(files)
    validate(config, SCHEMAS / "config.schema.yaml", (), names)
    check_evaluations(config["evaluation"], names)
    for name, block in config["datasets"].items():
        check_dataset(name, block, names)
    known = sources.methods()
    for method, block in config["methods"].items():
        if method not in known:
            raise unknown("method", method, known, f"{origin(('methods', method), names)}, no file in baselines/")
        settings = block.get("settings", {})
        check_settings(method, settings, ("methods", method, "settings"), names)
        for variant, change in block.get("variants", {}).items():
            changed = merge(settings, (change or {}).get("settings", {}))
            check_settings(method, changed, ("methods", method, "variants", variant, "settings"), names)


def check_evaluations(blocks: Mapping[str, Any], files: Sequence[str]) -> None:
    """Every block of ``evaluation`` is in some evaluation's ``SETTINGS``, and fits its own schema, if it has one."""
    known = {"extractor", *(key for entry in evaluation.found().values() for key in entry.settings)}
    for name, block in blocks.items():
        if name not in known:
            raise unknown("setting", name, known, f"{origin(('evaluation', name), files)}: evaluation")
        own = SCHEMAS / "evaluations" / f"{name}.yaml"
        if own.exists() and block is not None:
            validate(block, own, ("evaluation", name), files)


def check_dataset(name: str, block: Mapping[str, Any], files: Sequence[str]) -> None:
    """The settings of a data set against those that its builder declares."""

    def place(key: str) -> str:
        return f"{origin(('datasets', name, *([key] if key in block else [])), files)}: datasets.{name}"

    builders.resolve(block, place)


def check_settings(method: str, settings: Mapping[str, Any], path: tuple[str, ...], files: Sequence[str]) -> None:
    """A method's settings against its own schema, if it has one; ``path`` is their place in the configuration."""
    own = SCHEMAS / "methods" / f"{method}.yaml"
    if own.exists():
        validate(settings, own, path, files)


def validate(value: Any, schema: Path, path: tuple[str, ...], files: Sequence[str]) -> None:
    """Check ``value`` against a schema; ``path`` is its place in the configuration."""
    _check_numbers(value, path, files)
    errors = sorted(
        _validator(schema).iter_errors(value), key=lambda error: (list(map(str, error.path)), error.message)
    )
    if errors:
        raise _refusal(errors[0], path, files)


@functools.cache
def _validator(schema: Path) -> Any:
    import jsonschema
    from referencing import Registry
    from referencing.jsonschema import DRAFT202012

    def ordered(validator: Any, flag: bool, value: Any, schema: Any) -> Iterator[Any]:
        """``ordered: true``: a list of numbers goes from low to high."""
        if isinstance(value, list) and all(isinstance(each, int | float) for each in value) and value != sorted(value):
            yield jsonschema.ValidationError("must go from low to high")

    def compare(fits: Callable[[int, int], bool], words: str) -> Callable[..., Iterator[Any]]:
        """A keyword such as ``multiples: {width: channels_per_group}``: the first key's number fits the second's."""

        def keyword(validator: Any, pairs: Mapping[str, str], value: Any, schema: Any) -> Iterator[Any]:
            for pair in pairs.items() if isinstance(value, Mapping) else ():
                first, second = map(value.get, pair)
                if all(type(each) is int and each > 0 for each in (first, second)) and not fits(first, second):
                    yield jsonschema.ValidationError(f"{pair[0]} = {first} must be {words} {pair[1]} = {second}")

        return keyword

    known = jsonschema.Draft202012Validator
    types = known.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)  # no 8.0, whose id is not 8's
    types = types.redefine("float", lambda _, value: type(value) is float)  # no 0, which torch refuses as a beta
    own = {
        "ordered": ordered,
        "multiples": compare(lambda first, second: first % second == 0, "a multiple of"),
        "atLeast": compare(operator.ge, "at least"),
    }
    extended = jsonschema.validators.extend(known, own, type_checker=types)
    parts = DRAFT202012.create_resource(read(SCHEMAS / PARTS))
    return extended(read(schema), registry=Registry().with_resource(PARTS, parts))


def _check_numbers(value: Any, path: tuple[str, ...], files: Sequence[str]) -> None:
    """Refuse numbers that JSON or a float32 cannot hold, and whole numbers beyond any seed or size."""
    if isinstance(value, float) and not (value == 0 or 1e-37 < abs(value) < 1e38):
        raise UserError(f"{where(path, files)} = {value}: must be finite, and 0 or from 1e-37 to 1e38 as a float32 is")
    if isinstance(value, int) and abs(value) >= 2**32:
        raise UserError(f"{where(path, files)} = {value}: must be at most {2**32 - 1}")
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        _check_numbers(item, (*path, str(key)), files)


def _refusal(error: Any, prefix: tuple[str, ...], files: Sequence[str]) -> UserError:
    """One line for a schema violation: file, key, value, allowed set."""
    path = (*prefix, *map(str, error.absolute_path))
    if error.validator == "additionalProperties":
        allowed = error.schema.get("properties", {})
        extra = next(str(key) for key in error.instance if key not in allowed)
        return unknown("key", extra, allowed, f"{origin((*path, extra), files)}: {'.'.join(path) or 'configuration'}")
    place = where(path, files)
    if error.validator == "required":
        return UserError(f"{place}: {error.message}")
    note = f" [{error.schema['description']}]" if "description" in error.schema else ""
    return UserError(f"{place} = {json.dumps(error.instance, default=str)[:80]}: {limits(error)}{note}")


def where(path: tuple[str, ...], files: Sequence[str]) -> str:
    """File and key, as an error begins: ``mine.yaml: methods.simclr.settings``."""
    return f"{origin(path, files)}: {'.'.join(path) or 'configuration'}"


def origin(path: tuple[str, ...], files: Sequence[str]) -> str:
    """The last file that holds the key; all files where none does."""
    for file in reversed(files):
        try:
            node: Any = peek(file)
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


def hidden(config: Mapping[str, Any], files: Iterable[str]) -> Iterator[str]:
    """A line for each value of ``training`` that trained methods don't take: an earlier file gives them their own.

    Args:
        config: the merged configuration.
        files: the files it came from, the base first.
    """
    names = list(files)
    order = {short(file): index for index, file in enumerate(names)}
    methods = dict.fromkeys(method for block in config["grid"] for method in block["methods"])
    blocks = {method: config["methods"].get(method, {}).get("training", {}) for method in methods}
    for key in config["training"]:
        file = origin(("training", key), names)
        own = {
            method: origin(("methods", method, "training", key), names)
            for method, block in blocks.items()
            if key in block and block.get("steps") != 0
        }
        if earlier := [
            f"{method} ({place})" for method, place in own.items() if order.get(place, 0) < order.get(file, 0)
        ]:
            yield (
                f"{file}: training.{key} does not count for {', '.join(earlier)}, each with a value of its own"
                f" (methods.NAME.training.{key} changes it)"
            )


def short(file: str) -> str:
    """How an error names a file: relative to the repository where it lies in it."""
    if file.startswith(OPTION):
        return OPTION.strip()
    path = Path(file).resolve()
    return str(path.relative_to(sources.ROOT)) if path.is_relative_to(sources.ROOT) else file
