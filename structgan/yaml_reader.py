"""The one place where a YAML file is read: YAML 1.2 (core schema) → plain values with text as keys, as JSON has them.

010 is ten, 1e-3 is a number, and ``no`` and ``2026-01-01`` are words, as in JSON and as DVC reads them. Snakemake reads
its config files as YAML 1.1 (010 is eight, 1e-3 a word, ``no`` false); the rules put this reading in its place.
"""

import copy
import functools
import re
import stat
from pathlib import Path
from typing import Any, ClassVar

import yaml

from structgan.errors import UserError

OPTION = "--config "
"""Begins what stands in the place of a file for the values of Snakemake's --config, and is followed by them."""
DEPTH = 50
NODES = 50_000
"""Values of a file with its aliases written out. The base configuration has 1,700."""
TOO_LARGE = f"more than {DEPTH} levels or {NODES} values, aliases written out"
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
"""Characters that no XML file may have, as an svg, or no UTF-8."""
TAG = "tag:yaml.org,2002:"
SCALARS = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
    "merge": ("<<", "<"),
}
"""Pattern and first letters of each type that a plain word may have, in the order in which they are tried."""


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads a document; a key twice, and aliases without end, are refused."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}
    yaml_constructors: ClassVar[dict[str | None, Any]] = {
        tag: make
        for tag, make in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.removeprefix(TAG) in (*SCALARS, "str", "seq", "map")
    }

    def get_single_node(self) -> Any:
        node = super().get_single_node()
        self.left = NODES
        if node is not None:
            self.visit(node, 0)
        return node

    def visit(self, node: Any, depth: int) -> None:
        """Check a node and all below it, each as often as it is named; make the keys text."""
        self.left -= 1
        if depth > DEPTH or self.left < 0:
            raise yaml.MarkedYAMLError(problem=TOO_LARGE, problem_mark=node.start_mark)
        if isinstance(node, yaml.ScalarNode) and (found := CONTROL.search(node.value)):
            raise yaml.MarkedYAMLError(problem=f"control character {found[0]!a}", problem_mark=node.start_mark)
        lines: dict[str, int] = {}
        for entry in node.value if isinstance(node, yaml.CollectionNode) else ():
            if isinstance(node, yaml.MappingNode):
                key, entry = entry
                if not isinstance(key, yaml.ScalarNode):
                    raise yaml.MarkedYAMLError(problem="a key must be a word", problem_mark=key.start_mark)
                self.visit(key, depth)
                line = key.start_mark.line + 1
                if key.value in lines:
                    words = f"key '{key.value}' is written twice, in lines {lines[key.value]} and {line}"
                    raise yaml.MarkedYAMLError(problem=words)
                lines[key.value] = line
                key.tag = key.tag if key.tag == f"{TAG}merge" else f"{TAG}str"
            self.visit(entry, depth + 1)

    def construct_integer(self, node: Any) -> int:
        text = self.construct_scalar(node)
        value = int(text, 0 if text[:2] in ("0x", "0o") else 10)
        if abs(value) >= 2**63:
            raise ValueError(f"{text[:20]}… has more than 64 bits")
        return value


for name, (pattern, first) in SCALARS.items():
    Loader.add_implicit_resolver(TAG + name, re.compile(f"(?:{pattern})\\Z"), list(first))
Loader.add_constructor(f"{TAG}int", Loader.construct_integer)


def read(path: str | Path) -> dict[str, Any]:
    """One YAML file as a mapping; or the values of --config, see ``OPTION``."""
    return copy.deepcopy(peek(path))


def peek(path: str | Path) -> dict[str, Any]:
    """The same, shared with other readers: not to be changed."""
    name = str(path)
    try:
        if not (given := name.startswith(OPTION)) and not stat.S_ISREG(Path(path).stat().st_mode):
            raise OSError(0, "not a file")  # a pipe or a device may have no end
        value = _parse(name.removeprefix(OPTION) if given else Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such configuration file") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, ValueError, LookupError, RecursionError) as error:
        words = " ".join(str(error).replace('in "<unicode string>", ', "in ").split())
        raise UserError(f"{path}: not valid YAML: {words}") from error
    if not isinstance(value, dict):
        found = "nothing" if value is None else type(value).__name__
        raise UserError(f"{path}: must be a mapping of keys, found {found}")
    return value


@functools.lru_cache(64)
def _parse(text: str) -> Any:
    """The content of a YAML text; each error reads the same few files to find the origin of its key."""
    depth = 0  # libyaml builds values recursively, and thousands of levels would crash Python
    for count, event in enumerate(yaml.parse(text, Loader)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH or count > 2 * NODES:
            raise yaml.MarkedYAMLError(problem=TOO_LARGE, problem_mark=event.start_mark)  # type: ignore[arg-type]
    return Loader(text).get_single_data()
