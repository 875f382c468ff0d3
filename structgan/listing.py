"""The methods that ``structgan methods`` lists, with title and paper; none is imported."""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from structgan import config, sources, yaml_reader

PAPER = re.compile(r"(?<=[(;,]) ?([^(),;]+ \d{4}, arXiv [\d.]+\d)")


def methods() -> list[str]:
    """A line for each method: name, title, file, what its class declares, paper."""
    rows = []
    for name, path in sources.methods().items():
        marks = [key.replace("_", " ") for key, value in sources.capabilities(name).items() if value]
        file = str(path.relative_to(sources.ROOT))
        rows.append((name, title(name), file, ", ".join(marks), "; ".join(papers(path))))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def title(name: str) -> str:
    """A method's title in workflow/config/NAME.yaml or config.yaml; its name where it has none."""
    for file in (config.BASE.with_name(f"{name}.yaml"), config.BASE):
        found: Any = yaml_reader.read(file) if file.exists() else None
        for key in ("methods", name, "title"):
            found = found.get(key) if isinstance(found, Mapping) else None
        if found:
            return str(found)
    return name


def papers(path: Path) -> Iterator[str]:
    """What the docstring of a method's file cites, in the first paragraph that cites something."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    found = (PAPER.findall(" ".join(part.split())) for part in text.split("\n\n"))
    return iter(next(filter(None, found), []))
