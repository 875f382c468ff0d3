"""Which source files a run depends on, read without importing them: discovery of methods and the digest of a run.

The digest covers the syntax trees, without comments and docstrings, of every module of this repository that a run can
reach by imports. Editing a comment changes no digest; editing a loss changes those of the runs that use it. This module
imports no torch, so planning is fast.
"""

import ast
import functools
import hashlib
import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from structgan.errors import UserError, unknown

ROOT = Path(__file__).resolve().parent.parent
METHOD_FOLDERS = (ROOT / "structgan" / "methods", ROOT / "baselines")
TRAINING = (ROOT / "structgan" / "train.py",)
PLUMBING = (
    "environment errors files progress provenance sources training/__init__ training/heartbeat"
    " training/preempt evaluation/__init__ evaluation/limits"
)
NEUTRAL = frozenset(ROOT / "structgan" / f"{name}.py" for name in PLUMBING.split())
"""Modules that cannot change a number: writing files, printing, locking. The digest leaves them out."""
WORDS = "COLUMNS"
"""An evaluation's declaration of its columns. It is left out of the digest, because it changes no number."""
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
VERSIONED = ("ctx", "kind", "type_comment", "type_ignores", "type_params")
"""Fields of syntax trees that some versions of Python lack, or that say nothing."""


def methods() -> dict[str, Path]:
    """Every method's name and file, sorted by name; nothing is imported. Two files of one name are refused."""
    found: dict[str, Path] = {}
    for path in (path for folder in METHOD_FOLDERS for path in sorted(folder.glob("[!_]*.py"))):
        if path.stem in found:
            raise UserError(f"{path}: the method name '{path.stem}' is already taken by {found[path.stem]}")
        found[path.stem] = path
    return dict(sorted(found.items()))


def method_file(name: str) -> Path:
    """The file of a method; refused if there is none."""
    found = methods()
    if name not in found:
        raise unknown("method", name, found, "baselines/")
    return found[name]


def module_name(path: Path) -> str:
    """The dotted name under which a file of this repository is imported."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


@functools.cache
def tree(path: Path) -> ast.Module:
    """The syntax tree of a file, docstrings removed; refused if it is not valid Python."""
    try:
        parsed = ast.parse(path.read_text(encoding="utf-8"), str(path))
    except SyntaxError as error:
        raise UserError(f"{path}:{error.lineno}: {error.msg}") from error
    for node in ast.walk(parsed):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return parsed


@functools.cache
def imports(path: Path) -> set[Path]:
    """Files of this repository that a file imports anywhere in it, also inside functions.

    ``from package import module`` is an import of the module; of any other name, it is one of ``package/__init__.py``.
    """
    found: set[Path | None] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found.update(module_file(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            module = module_file(node.module)
            found.update(module_file(f"{node.module}.{alias.name}") or module for alias in node.names)
    return {file for file in found if file}


def module_file(name: str) -> Path | None:
    """The file of a module or package of this repository; None if the name is no such module."""
    place = ROOT.joinpath(*name.split("."))
    inside = name.split(".")[0] in ("structgan", "baselines")
    return next((file for file in (place.with_suffix(".py"), place / "__init__.py") if inside and file.is_file()), None)


def closure(entries: Iterable[Path]) -> list[Path]:
    """The entry files and all that they import, sorted; neither ``NEUTRAL`` modules nor what only these import."""
    seen: set[Path] = set()
    waiting = set(entries) - NEUTRAL
    while waiting:
        seen |= waiting
        waiting = {other for path in waiting for other in imports(path)} - seen - NEUTRAL
    return sorted(seen)


@functools.cache
def digest(*entries: Path) -> str:
    """SHA-256 over the logic of the entry files and of all that they import."""
    total = hashlib.sha256()
    for path in closure(entries):
        total.update(f"{path.relative_to(ROOT)}\0{module_logic(path)}\0".encode())
    return total.hexdigest()


@functools.cache
def module_logic(path: Path) -> str:
    """What a file does, as text: all of it but the docstrings and the words of an evaluation's columns."""
    return logic([node for node in tree(path).body if not declares(node, WORDS)])


def declares(node: ast.stmt, name: str) -> bool:
    """Whether a statement assigns a literal to a name of the module."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return any(isinstance(target, ast.Name) and target.id == name for target in targets)


@functools.cache
def literals(path: Path, *names: str) -> dict[str, Any]:
    """What a file assigns to those of the names that it has, read without running it.

    Raises:
        UserError: one of them is no literal.
    """
    found: dict[str, Any] = {}
    for name, node in itertools.product(names, tree(path).body):
        if declares(node, name):
            try:
                found[name] = ast.literal_eval(node.value)  # type: ignore[attr-defined]
            except ValueError as error:
                raise UserError(f"{path}: {name} must be a literal: planning reads it without running it") from error
    return found


def logic(node: object) -> str:
    """A syntax tree as text that is the same under every version of Python, which ``ast.unparse``'s is not."""
    if isinstance(node, list):
        return f"[{','.join(map(logic, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = [(name, value) for name, value in ast.iter_fields(node) if name not in VERSIONED]
    shown = ",".join(f"{name}={logic(value)}" for name, value in fields if value not in (None, []))
    return f"{type(node).__name__}({shown})"


def run_digest(method: str) -> str:
    """The digest of what trains a run of ``method``: the loop, the method, and all that these import."""
    return digest(*TRAINING, method_file(method))


def evaluation_digest(kind: str) -> str:
    """The digest of what evaluates: ``structgan/evaluation/<kind>.py`` and all that it imports."""
    return digest(ROOT / "structgan" / "evaluation" / f"{kind}.py")


def builder_digest(builder: str) -> str:
    """The digest of what prepares a data set: ``structgan/datasets/<builder>.py`` and the package."""
    package = ROOT / "structgan" / "datasets"
    return digest(package / "__init__.py", package / f"{builder}.py")


def fingerprint(value: Any) -> str:
    """SHA-256 of a value's canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@functools.cache
def capabilities(method: str) -> dict[str, bool]:
    """What a method's class declares, read from its syntax tree: ``samples``, ``uses_labels``, ``uses_generator``."""
    found = {"samples": False, "uses_labels": False, "uses_generator": False}
    classes = (node for node in tree(method_file(method)).body if isinstance(node, ast.ClassDef))
    for item in (item for node in classes for item in node.body):
        if isinstance(item, ast.FunctionDef):
            found["samples"] |= item.name == "sample"
        for name in ("uses_labels", "uses_generator"):
            if declares(item, name) and isinstance(item.value, ast.Constant):  # type: ignore[attr-defined]
                found[name] = bool(item.value.value)  # type: ignore[attr-defined]
    return found
