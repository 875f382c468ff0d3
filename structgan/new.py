"""``structgan new`` writes the two files of a baseline or an evaluation from the example in its guide; no torch."""

import ast
import keyword
import re
from pathlib import Path

from structgan import config, evaluation, sources, yaml_reader
from structgan.errors import UserError
from structgan.files import write_new

GUIDE = sources.ROOT / "baselines" / "README.md"
EVALUATIONS = sources.ROOT / "docs" / "how-to" / "own-evaluation.md"
EXAMPLE = "mine"


def example(guide: Path = GUIDE) -> dict[str, str]:
    """The first block of each language in a guide: ``python``, ``yaml`` and ``sh``."""
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", guide.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return dict(reversed(blocks))


def class_name(name: str) -> str:
    """The class of a method: ``my_method`` gives ``MyMethod``."""
    return "".join(part.capitalize() for part in name.split("_"))


def rename(text: str, name: str) -> str:
    """A block of the example for another name."""
    text = re.sub(rf"\b{EXAMPLE}\b", name, text)
    return re.sub(rf"\b{class_name(EXAMPLE)}\b", class_name(name), text)


def spelling(name: str) -> str | None:
    """Why a module cannot have this name, or None."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        return "must start with a lower-case letter and contain only lower-case letters, digits and _"
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        return "is a Python keyword"
    return None


def problem(name: str, code: str) -> str | None:
    """Why a baseline cannot have this name, or None; its class must not hide an import of the example ``code``."""
    if reason := spelling(name):
        return reason
    taken = {method.lower(): path for method, path in sources.methods().items()}
    if name in taken:
        return f"is already used by {config.short(str(taken[name]))}"
    imports = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Import | ast.ImportFrom)]
    if class_name(name) in {alias.asname or alias.name for node in imports for alias in node.names}:
        return f"would hide {class_name(name)}, which the example imports"
    for path in sorted(config.BASE.parent.glob("*.yaml")):
        if yaml_reader.read(path).get("suite") == name:
            return f"is already used by {config.short(str(path))}, as its suite"
    return None


def baseline(name: str) -> str:
    """Write ``baselines/NAME.py`` and ``workflow/config/NAME.yaml``, or neither; return what to do next."""
    blocks = example()
    if reason := problem(name, blocks["python"]):
        raise UserError(f"new baseline '{name}': the name {reason}")
    module = f"baselines/{name}.py: a small working method, class {class_name(name)}; edit it"
    settings = f"workflow/config/{name}.yaml: its settings, and a grid that compares it with other methods"
    return write(name, blocks, module, settings)


def new_evaluation(name: str) -> str:
    """Write ``structgan/evaluation/NAME.py`` and ``workflow/config/NAME.yaml``, or neither; return what to do next."""
    known = evaluation.found()
    reason = spelling(name)
    if name in {*known, *(key for each in known.values() for key in each.settings)}:
        reason = "is already used in structgan/evaluation"
    if reason:
        raise UserError(f"new evaluation '{name}': the name {reason}")
    module = f"structgan/evaluation/{name}.py: a small working evaluation; edit it"
    return write(name, example(EVALUATIONS), module, f"workflow/config/{name}.yaml: its settings")


def write(name: str, blocks: dict[str, str], module: str, settings: str) -> str:
    """Write both files of an example, or neither; ``module`` and ``settings`` are lines that begin with their paths."""
    files = {settings: blocks["yaml"], module: blocks["python"]}
    write_new({sources.ROOT / line.partition(":")[0]: rename(text, name) for line, text in files.items()})
    steps = [line for line in rename(blocks["sh"], name).splitlines() if not line.startswith("structgan new")]
    return "\n".join([module, settings, f"Next, in {sources.ROOT}:", *(f"  {line}" for line in steps)])
