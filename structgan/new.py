"""``structgan new baseline`` writes a method's two files from the example in ``baselines/README.md``; no torch."""

from __future__ import annotations

import ast
import keyword
import re

from structgan import config, sources
from structgan.errors import UserError
from structgan.files import write_new

GUIDE = sources.ROOT / "baselines" / "README.md"
EXAMPLE = "mine"


def example() -> dict[str, str]:
    """The first block of each language in the guide: ``python``, ``yaml`` and ``sh``.

    Raises:
        UserError: the guide is missing or has no such block.
    """
    try:
        text = GUIDE.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{GUIDE}: the example for new baselines cannot be read: {error.strerror}") from error
    blocks: dict[str, str] = {}
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        blocks.setdefault(language, block)
    for language in ("python", "yaml", "sh"):
        if language not in blocks:
            raise UserError(f"{GUIDE}: the example for new baselines has no block ```{language}")
    return blocks


def class_name(name: str) -> str:
    """The class of a method: ``my_method`` gives ``MyMethod``."""
    return "".join(part.capitalize() for part in name.split("_"))


def rename(text: str, name: str) -> str:
    """A block of the example for a method of another name."""
    text = re.sub(rf"\b{EXAMPLE}\b", name, text)
    return re.sub(rf"\b{class_name(EXAMPLE)}\b", class_name(name), text)


def problem(name: str, code: str) -> str | None:
    """Why a baseline cannot have this name, or None.

    Args:
        name: of the new baseline.
        code: the example, whose imports the new class must not hide.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        return "must start with a lower-case letter and contain only lower-case letters, digits and _"
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        return "is a Python keyword"
    taken = {method.lower(): path for method, path in sources.methods().items()}
    if name in taken:
        return f"is already used by {config.short(str(taken[name]))}"
    imports = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Import | ast.ImportFrom)]
    if class_name(name) in {alias.asname or alias.name for node in imports for alias in node.names}:
        return f"would hide {class_name(name)}, which the example imports"
    package = sources.ROOT / "structgan"
    if (package / name).is_dir() or (package / f"{name}.py").exists():
        return f"is reserved, because there is a module structgan.{name}"
    if name == "base":
        return "is reserved for the settings of a method without a variant"
    for path in sorted(config.BASE.parent.glob("*.yaml")):
        if config.read(path).get("suite") == name:
            return f"is already used by {config.short(str(path))}, as its suite"
    return None


def baseline(name: str) -> str:
    """Write ``baselines/NAME.py`` and ``workflow/config/NAME.yaml``, or neither; return what to do next.

    Raises:
        UserError: the name cannot be used, or one of the files exists.
    """
    blocks = example()
    if reason := problem(name, blocks["python"]):
        raise UserError(f"new baseline '{name}': the name {reason}")
    files = {f"workflow/config/{name}.yaml": blocks["yaml"], f"baselines/{name}.py": blocks["python"]}
    write_new({sources.ROOT / path: rename(text, name) for path, text in files.items()})
    steps = [line for line in rename(blocks["sh"], name).splitlines() if not line.startswith("structgan new")]
    return "\n".join(
        [
            f"baselines/{name}.py: a small working method, class {class_name(name)}; edit it",
            f"workflow/config/{name}.yaml: its settings, and a grid that compares it with other methods",
            f"Next, in {sources.ROOT}:",
            *(f"  {line}" for line in steps),
        ]
    )
