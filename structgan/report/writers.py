"""Writes a table as csv, Markdown and LaTeX, with pandas."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pandas as pd

from structgan.report.cells import Cell, Heading, Table

REFERENCES = ("Data set", "Method", "Metric", "Value", "Protocol", "Source")
TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "≈": r"$\approx$", "‡": r"$^\ddagger$",
    "→": r"$\to$", "×": r"$\times$", "↓": r"$\downarrow$", "↑": r"$\uparrow$", "—": "---", "−": "$-$", "√": r"$\surd$",
    "≤": r"$\le$", "≥": r"$\ge$", "₁": "$_1$", "₂": "$_2$", "²": "$^2$", "…": r"\dots{}", "<": r"\textless{}",
    ">": r"\textgreater{}",
}  # fmt: skip
KINDS = {"number": "r", "long": r"p{0.3\linewidth}", "word": "l"}


def to_csv(table: Table) -> str:
    """Keys instead of titles, and full numbers; a number that does not exist is empty."""
    names = [name for heading in table.headings for name in (heading.csv or (heading.key,))]
    rows = [[text for heading in table.headings for text in row.cells[heading.key].csv] for row in table.rows]
    return str(pd.DataFrame(rows, columns=names, dtype=str).to_csv(index=False, lineterminator="\n"))


def markdown(text: str) -> str:
    """Text in which Markdown finds no marks."""
    return re.sub(r"([\\`*_|])", r"\\\1", " ".join(text.split())).replace("<", "&lt;")


def to_markdown(table: Table) -> str:
    """A heading, a table per block, the caption, notes, and published numbers in a section of their own."""
    shown = _shown(table)
    aligned = ["right" if heading.kind == "number" else "left" for heading in shown]
    parts = [f"# {table.title}"]
    for block, rows in table.blocks().items():
        texts = [[_strong(row.cells[heading.key], markdown, "**{}**") for heading in shown] for row in rows]
        frame = pd.DataFrame(texts, columns=[markdown(heading.title) for heading in shown])
        parts += [f"## {markdown(block)}", frame.to_markdown(index=False, disable_numparse=True, colalign=aligned)]
    parts += [] if table.rows else [table.empty]
    parts += [markdown(table.caption), "\n".join(f"- {markdown(note)}" for note in table.notes)]
    if table.references:
        frame = pd.DataFrame([[*map(markdown, entry)] for entry in table.references], columns=list(REFERENCES))
        parts += ["## Published numbers: another protocol, not comparable"]
        parts += [frame.to_markdown(index=False, disable_numparse=True)]
    return "\n\n".join(part for part in parts if part) + "\n"


def tex(text: str) -> str:
    """Text in which LaTeX finds no commands, in ASCII."""
    return "".join(TEX.get(letter, letter) for letter in " ".join(text.split()))


def to_tex(table: Table) -> str:
    """A table environment with a booktabs tabular per block; published numbers come last, in one of their own."""
    shown = _shown(table)
    columns = "".join(KINDS[heading.kind] for heading in shown)
    parts = []
    for block, rows in table.blocks().items():
        texts = [[_strong(row.cells[heading.key], tex, r"\textbf{{{}}}") for heading in shown] for row in rows]
        parts.append(_tabular(block, texts, [heading.title for heading in shown], columns))
    if table.references:
        kinds = "lllr" + KINDS["long"] * 2
        texts = [[*map(tex, entry)] for entry in table.references]
        parts.append(_tabular("Published numbers: another protocol, not comparable", texts, list(REFERENCES), kinds))
    caption = tex(sentences((table.caption, *table.notes)))
    end = [rf"\caption{{{caption}}}", rf"\label{{tab:{table.name}}}", r"\end{table}"]
    return "\n".join(["% Needs \\usepackage{booktabs}.", r"\begin{table}", r"\centering", *parts, *end]) + "\n"


def sentences(parts: Iterable[str]) -> str:
    """Captions and notes one after the other, each with a full stop."""
    return " ".join(part if part.endswith((".", ";")) else f"{part}." for part in parts)


def _tabular(title: str, texts: list[list[str]], names: list[str], columns: str) -> str:
    styler = pd.DataFrame(texts, columns=[tex(name) for name in names]).style.hide(axis="index")
    return rf"\emph{{{tex(title)}}}\\" + "\n" + str(styler.to_latex(hrules=True, column_format=columns)).rstrip()


def _strong(cell: Cell, escape: object, form: str) -> str:
    text = escape(cell.text)  # type: ignore[operator]
    return form.format(text) if cell.strong and text else text


def _shown(table: Table) -> list[Heading]:
    return [heading for heading in table.headings if heading.place == "column"]
