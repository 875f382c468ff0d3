"""``structgan new`` writes the files of a baseline, an evaluation or a data set from a guide's example; no torch."""

import ast
import json
import keyword
import re
from collections.abc import Mapping
from pathlib import Path

from structgan import config, evaluation, pictures, sources, trees, yaml_reader
from structgan.errors import UserError
from structgan.files import write_new

GUIDE = sources.ROOT / "baselines" / "README.md"
EVALUATIONS = sources.ROOT / "docs" / "how-to" / "own-evaluation.md"
IMAGES = sources.ROOT / "docs" / "how-to" / "own-images.md"
EXAMPLE = {GUIDE: "mine", EVALUATIONS: "score", IMAGES: "pets"}
"""The name in the example of each guide."""
SPLIT = 0.2
"""Share of the pictures that become the test split where there is none."""
PATH, SUBSET = "path: data/raw/pets", "kid_subset_size: 100"
"""What a data set's own path and number of images take the place of."""


def example(guide: Path = GUIDE) -> dict[str, str]:
    """The first block of each language in a guide: ``python``, ``yaml`` and ``sh``."""
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", guide.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return dict(reversed(blocks))


def class_name(name: str) -> str:
    """The class of a method: ``my_method`` gives ``MyMethod``."""
    return "".join(part.capitalize() for part in name.split("_"))


def rename(text: str, name: str, guide: Path = GUIDE) -> str:
    """A block of a guide's example for another name."""
    text = re.sub(rf"\b{EXAMPLE[guide]}\b", name, text)
    return re.sub(rf"\b{class_name(EXAMPLE[guide])}\b", class_name(name), text)


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
    return already_used(name)


def already_used(name: str) -> str | None:
    """Which configuration has a suite or a data set of this name, in words, or None."""
    for path in sorted(config.BASE.parent.glob("*.yaml")):
        found = yaml_reader.read(path)
        data = found.get("datasets")
        known = {"suite": [found.get("suite")], "data set": data if isinstance(data, Mapping) else ()}
        for kind in (kind for kind, names in known.items() if name in names):
            return f"is already used by {config.short(str(path))}, as its {kind}"
    return None


def new(kind: str, name: str, path: Path | None) -> str:
    """Write the files of a new ``baseline``, ``evaluation`` or ``dataset``, all or none; return what to do next."""
    if (path is None) == (kind == "dataset"):
        raise UserError(f"new {kind} '{name}': {'takes no PATH' if path else 'needs the PATH of the pictures'}")
    return dataset(name, path) if path else baseline(name) if kind == "baseline" else new_evaluation(name)


def baseline(name: str) -> str:
    """Write ``baselines/NAME.py`` and ``workflow/config/NAME.yaml``; return what to do next."""
    blocks = example()
    if reason := problem(name, blocks["python"]):
        raise UserError(f"new baseline '{name}': the name {reason}")
    module = f"baselines/{name}.py: a small working method, class {class_name(name)}; edit it"
    settings = f"workflow/config/{name}.yaml: its settings, and a grid that compares it with other methods"
    return write(name, GUIDE, {settings: blocks["yaml"], module: blocks["python"]})


def new_evaluation(name: str) -> str:
    """Write ``structgan/evaluation/NAME.py`` and ``workflow/config/NAME.yaml``; return what to do next."""
    known, blocks = evaluation.found(), example(EVALUATIONS)
    reason = spelling(name) or already_used(name)
    if name in {*known, *(key for each in known.values() for key in each.settings)}:
        reason = "is already used in structgan/evaluation"
    if reason:
        raise UserError(f"new evaluation '{name}': the name {reason}")
    module = f"structgan/evaluation/{name}.py: a small working evaluation; edit it"
    settings = f"workflow/config/{name}.yaml: its settings"
    return write(name, EVALUATIONS, {settings: blocks["yaml"], module: blocks["python"]})


def dataset(name: str, path: Path) -> str:
    """Write ``workflow/config/NAME.yaml`` for pictures in class folders; return what to do next.

    Raises:
        UserError: the name is taken; there are no class folders at ``path``, or ``pictures.find`` refuses them.
    """
    reason = spelling(name) or already_used(name)
    if reason or not str(path).isprintable():
        what = f"name {reason}" if reason else "path has characters that no configuration can hold"
        raise UserError(f"new dataset '{name}': the {what}")
    train, test, flat = count(trees.open_tree(path))
    place = path.absolute()
    place = place.relative_to(sources.ROOT) if place.is_relative_to(sources.ROOT) else place
    own = f"path: {json.dumps(str(place), ensure_ascii=False)}{f', split: {SPLIT}, seed: 0' if flat else ''}"
    line = f"workflow/config/{name}.yaml: {train} training and {test} test images; edit it"
    return write(name, IMAGES, {line: example(IMAGES)["yaml"]}, {PATH: own, SUBSET: f"{SUBSET[:-3]}{min(100, test)}"})


def count(tree: trees.Tree) -> tuple[int, int, bool]:
    """Training and test images, and whether the test split has yet to be drawn, from class folders alone."""
    try:
        train, test = ([len(files) for files in part.values()] for part in pictures.find(tree, flat=False).values())
        return sum(train), sum(test), False
    except UserError as error:
        try:
            found = [len(files) for files in pictures.find(tree, flat=True)[""].values()]
        except UserError:
            raise error from None
    drawn = sum(max(1, round(SPLIT * number)) for number in found)
    return sum(found) - drawn, drawn, True


def write(name: str, guide: Path, files: dict[str, str], values: Mapping[str, str] | None = None) -> str:
    """Write a guide's example under another name, all files or none, and return what to do next.

    ``files`` are texts by lines that begin with their paths; ``values`` take the place of words in them.
    """
    texts = {}
    for line, text in files.items():
        known = values or {}
        parts = re.split(f"({'|'.join(map(re.escape, known)) or '$^'})", text)
        texts[sources.ROOT / line.partition(":")[0]] = "".join(known.get(p) or rename(p, name, guide) for p in parts)
    write_new(texts)
    steps = [step for step in rename(example(guide)["sh"], name, guide).splitlines() if " new " not in step]
    return "\n".join([*reversed(files), f"Next, in {sources.ROOT}:", *(f"  {step}" for step in steps)])
