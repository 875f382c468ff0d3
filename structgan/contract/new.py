"""A new baseline's two files, made of the example in ``baselines/README.md``: what the page shows is what is written.

Imports no torch.
"""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Mapping
from pathlib import Path

from structgan import config, sources
from structgan import evaluation as evaluations
from structgan.errors import UserError
from structgan.files import write_new

GUIDE = sources.ROOT / "baselines" / "README.md"
EVALUATIONS = sources.ROOT / "docs" / "evaluations.md"
EXAMPLE = "mine"
"""The example's name; its class is the same word, capitalised."""


def example(guide: Path = GUIDE) -> dict[str, str]:
    """A guide's first block of each language: ``python``, ``yaml`` and ``sh``.

    Raises:
        UserError: the guide is missing, or has no such block.
    """
    try:
        text = guide.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{guide}: cannot be read, and holds the example to start from: {error.strerror}") from error
    found: dict[str, str] = {}
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        found.setdefault(language, block)
    for language in ("python", "yaml", "sh"):
        if language not in found:
            raise UserError(f"{guide}: has no block ```{language}, which is part of the example to start from")
    return found


def class_name(name: str) -> str:
    """The class of a method: ``my_method`` gives ``MyMethod``."""
    return "".join(part.capitalize() for part in name.split("_"))


def rename(text: str, name: str) -> str:
    """The example's text for a method of another name."""
    text = re.sub(rf"\b{EXAMPLE}\b", name, text)
    return re.sub(rf"\b{class_name(EXAMPLE)}\b", class_name(name), text)


def suites() -> dict[str, str]:
    """The suites that the configuration files of ``workflow/config`` name, each with who uses it."""
    found: dict[str, str] = {}
    for path in sorted(config.BASE.parent.glob("*.yaml")):
        suite = config.read(path).get("suite")
        if isinstance(suite, str):
            found.setdefault(suite, f"{config.short(str(path))}, as its suite")
    return found


def refusal(name: str, code: str) -> str | None:
    """Why a baseline cannot have this name, or None.

    Args:
        name: what was asked for.
        code: the example's Python, whose imports the class must not hide.
    """
    taken = {method.lower(): path for method, path in sources.methods().items()}
    imported = {
        alias.asname or alias.name
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        return "must be of small letters, digits and _, and begin with a letter, such as my_method"
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        return "is a word of Python's own"
    if name in taken:
        return f"is already taken by {config.short(str(taken[name]))}"
    if class_name(name) in imported:
        return f"would hide {class_name(name)}, which the example imports"
    if (sources.ROOT / "structgan" / name).is_dir() or (sources.ROOT / "structgan" / f"{name}.py").exists():
        return f"is reserved: a part of the suite is called structgan.{name}"
    if name in (named := {"base": "every method, as its variant", **suites()}):
        return f"is reserved: it is used by {named[name]}"
    return None


def baseline(name: str) -> str:
    """Write ``baselines/NAME.py`` and ``workflow/config/NAME.yaml``, both or none; return what to say of them.

    Raises:
        UserError: the name is no good, or one of the files exists; nothing is written.
    """
    blocks = example()
    if reason := refusal(name, blocks["python"]):
        raise UserError(f"new baseline '{name}': the name {reason}")
    files: Mapping[str, str] = {f"workflow/config/{name}.yaml": "yaml", f"baselines/{name}.py": "python"}
    write_new({sources.ROOT / path: rename(blocks[language], name) for path, language in files.items()})
    steps = [line for line in rename(blocks["sh"], name).splitlines() if not line.startswith("structgan new")]
    return "\n".join(
        [
            f"baselines/{name}.py: a working method, class {class_name(name)}, to be made yours",
            f"workflow/config/{name}.yaml: its settings, and a grid of its own beside other methods",
            f"Next, in {sources.ROOT}:",
            *(f"  {line}" for line in steps),
        ]
    )


def evaluation(name: str) -> str:
    """Write ``structgan/evaluation/NAME.py`` and ``workflow/config/NAME.yaml``, both or none; return what to say.

    Raises:
        UserError: the name is taken or not a name, or one of the files exists; nothing is written.
    """
    blocks, known = example(EVALUATIONS), evaluations.found()
    settings = {key for entry in known.values() for key in entry.settings}
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name) or keyword.issoftkeyword(name):
        raise UserError(f"new evaluation '{name}': must be of small letters, digits and _, such as my_evaluation")
    if name in {*known, *settings} or (evaluations.FOLDER / f"{name}.py").exists():
        raise UserError(f"new evaluation '{name}': the name is taken in structgan/evaluation")
    paths = {f"workflow/config/{name}.yaml": "yaml", f"structgan/evaluation/{name}.py": "python"}
    write_new({sources.ROOT / path: rename(blocks[language], name) for path, language in paths.items()})
    steps = [line for line in rename(blocks["sh"], name).splitlines() if not line.startswith("structgan new")]
    return "\n".join(
        [
            f"structgan/evaluation/{name}.py: an evaluation that works, for you to change",
            f"workflow/config/{name}.yaml: its settings",
            f"Next, in {sources.ROOT}:",
            *(f"  {line}" for line in steps),
        ]
    )
