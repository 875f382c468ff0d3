"""Writes a table as csv, Markdown and LaTeX, with pandas, and what a folder of tables or figures was made from."""

import contextlib
import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd

from structgan import provenance
from structgan.errors import UserError
from structgan.files import read_json
from structgan.report.cells import Table
from structgan.report.results import Suite

PUBLISHED = "Published numbers: another protocol, not comparable"
REFERENCES = {"Data set": "word", "Method": "word", "Metric": "word", "Value": "number", "Protocol": "long",
              "Source": "long"}  # fmt: skip
TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "≈": r"$\approx$", "‡": r"$^\ddagger$",
    "→": r"$\to$", "×": r"$\times$", "↓": r"$\downarrow$", "↑": r"$\uparrow$", "—": "---", "−": "$-$", "√": r"$\surd$",
    "≤": r"$\le$", "≥": r"$\ge$", "₁": "$_1$", "₂": "$_2$", "²": "$^2$", "…": r"\dots{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "“": "``", "”": "''", "†": r"$^\dagger$",
    "↗": r"$\nearrow$", "§": r"\S{}",
}  # fmt: skip

Block = tuple[str, pd.DataFrame, list[str]]


def to_csv(table: Table) -> str:
    """Keys instead of titles, and full numbers; a number that does not exist is empty."""
    names = [name for heading in table.headings for name in heading.csv or (heading.key,)]
    rows = [[text for heading in table.headings for text in row.cells[heading.key].csv] for row in table.rows]
    return str(pd.DataFrame(rows, columns=names, dtype=str).to_csv(index=False, lineterminator="\n"))


def blocks(table: Table, escape: Callable[[str], str], strong: str) -> Iterator[Block]:
    """Each block's title, its texts, and the kinds of its columns; published numbers come last."""
    shown = [heading for heading in table.headings if heading.kind not in ("block", "csv")]
    for title, rows in itertools.groupby(table.rows, lambda row: row.block):
        cells = [[row.cells[heading.key] for heading in shown] for row in rows]
        texts = [[strong.format(escape(c.text)) if c.strong else escape(c.text) for c in row] for row in cells]
        names = [escape(heading.title) for heading in shown]
        yield escape(title), pd.DataFrame(texts, columns=names), [heading.kind for heading in shown]
    if table.references:
        frame = pd.DataFrame([[*map(escape, entry)] for entry in table.references], columns=list(REFERENCES))
        yield PUBLISHED, frame, list(REFERENCES.values())


def markdown(text: str) -> str:
    """Text in which Markdown finds no marks."""
    return re.sub(r"([\\`*_|~$&]|\](?=[(\[]))", r"\\\1", " ".join(text.split())).replace("<", "&lt;")


def to_markdown(table: Table) -> str:
    """A heading, the caption, a table per block, and the notes."""
    if not table.rows and not table.references:
        return f"# {markdown(table.title)}\n\n{table.empty}\n"
    parts, notes = [f"# {markdown(table.title)}", markdown(table.caption)], (*table.notes, *table.footnotes)
    for title, frame, kinds in blocks(table, markdown, "**{}**"):
        aligned = ["right" if kind == "number" else "left" for kind in kinds]
        parts += [f"## {title}", str(frame.to_markdown(index=False, disable_numparse=True, colalign=aligned))]
    parts += ["\n".join(f"- {markdown(note)}" for note in notes)] if notes else []
    return "\n\n".join(parts) + "\n"


def tex(text: str) -> str:
    """Text in which LaTeX finds no commands, in ASCII."""
    words = "".join(TEX.get(letter, letter) for letter in " ".join(text.split()))
    # after the end of a row, [ and * would belong to the command that ends it
    return f"{{{words[0]}}}{words[1:]}" if words[:1] in ("[", "*") else words


def to_tex(table: Table) -> str:
    """A table environment with a booktabs tabular per block."""
    parts, kinds_of = [r"% Needs \usepackage{booktabs}.", r"\begin{table}", r"\centering"], {"number": "r", "word": "l"}
    for title, frame, kinds in blocks(table, tex, r"\textbf{{{}}}"):
        columns = "".join(kinds_of.get(kind, r"p{0.3\linewidth}") for kind in kinds)
        tabular = frame.style.hide(axis="index").to_latex(hrules=True, column_format=columns)
        parts += [rf"\emph{{{title}}}\\", str(tabular).rstrip()]
    caption = tex(
        " ".join(
            part if part.endswith((".", ";")) else f"{part}."
            for part in (table.caption, *table.notes, *table.footnotes)
        )
    )
    return "\n".join([*parts, rf"\caption{{{caption}}}", rf"\label{{tab:{table.name}}}", r"\end{table}"]) + "\n"


def clear(folder: Path) -> None:
    """Delete what was made before, also from another plan, so that nothing of it is taken for this plan's."""
    for path in folder.glob("made_from*.json"):
        with contextlib.suppress(UserError, LookupError, TypeError):
            for name in list(read_json(path)["checksums"]["files"]):
                (folder / Path(name).name).unlink(missing_ok=True)
        path.unlink()


def seal_path(suite: Suite, folder: Path) -> Path:
    """A folder's made_from-<id>.json, with the plan's id."""
    return folder / f"made_from-{suite.file.stem}.json"


def seal(suite: Suite, folder: Path, made: list[Path]) -> Path:
    """Write a folder's made_from-<id>.json: checksums of the files that were made from the plan."""
    path = seal_path(suite, folder)
    provenance.write_sealed(path, {"suite": suite.plan["suite"], "plan": suite.file.name}, made)
    return path
