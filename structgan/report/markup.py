"""Writes a table as csv, Markdown and LaTeX."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable

from structgan.report.cells import DASH, Cell, Column, Row, Table

HEADINGS = {
    "dataset": "Data set", "method": "Method", "augmentation": "Augmentation", "variant": "Variant", "value": "Value",
}  # fmt: skip
EMPTY = {"missing": f"{DASH} missing", "no sample": DASH, "not applicable": "n/a", "not planned": ""}
TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "≈": r"$\approx$", "†": r"$^\dagger$",
    "‡": r"$^\ddagger$", "→": r"$\to$", "×": r"$\times$", "↓": r"$\downarrow$", "↑": r"$\uparrow$", "—": "---",
    "−": "$-$", "√": r"$\surd$", "≤": r"$\le$", "≥": r"$\ge$", "₁": "$_1$", "₂": "$_2$", "²": "$^2$", "…": r"\dots{}",
    "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip


def shown(value: float, column: Column, beside: float | None = None) -> str:
    """A number in the column's unit and digits.

    Args:
        value: as it is stored.
        column: where it stands.
        beside: the mean that a deviation or a difference belongs to, whose digits it takes.
    """
    value = float(f"{value:.8g}")  # as the CSV has it, so that every form of a table rounds the same number
    return f"{value * column.scale:.{_digits(column, value if beside is None else beside)}f}"


def signed(value: float, column: Column, beside: float | None = None) -> str:
    """A difference with its sign; a true minus."""
    return f"{value * column.scale:+.{_digits(column, value if beside is None else beside)}f}".replace("-", "−")


def _digits(column: Column, value: float) -> int:
    """Two more below 1 where the unit is free: a small extractor's FIDs are small."""
    return column.digits + 2 * (column.scale == 1.0 and column.digits == 2 and abs(value) < 1)


def words(cell: Cell, column: Column, seeds: bool) -> str:
    """A cell in words without emphasis: ``52.9 ± 0.8``, its marks, its difference, its seeds where the row has none."""
    if cell.statistic is None:
        return EMPTY[cell.state]
    text = shown(cell.statistic.mean, column)
    if cell.statistic.std is not None:
        text += f" ± {shown(cell.statistic.std, column, cell.statistic.mean)}"
    text += "".join(mark for mark, on in (("≈", cell.tied), ("†", cell.stale), ("‡", cell.unconverged)) if on)
    if cell.delta is not None:
        text += f" ({signed(cell.delta, column, cell.statistic.mean)})"
    if cell.statistic.n < cell.planned and not seeds:
        text += f" [{cell.statistic.n}/{cell.planned}]"
    return text


def seeds_of(row: Row) -> str:
    """Finished seeds, as done/planned while some are missing."""
    return str(row.done) if row.done == row.planned else f"{row.done}/{row.planned}"


def to_csv(table: Table) -> str:
    """Raw keys and full numbers; what is missing, cannot be sampled or was not planned is empty.

    Rows that are declared not applicable stand in the Markdown and LaTeX forms only, with their reason.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    names = [f"{column.key}_{part}" for column in table.columns for part in table.layout]
    writer.writerow([*table.lead, *(["seeds"] if table.seeds else []), *names, *table.extra])
    for row in table.rows:
        if all(cell.state in ("not applicable", "not planned") for cell in row.cells.values()) and row.cells:
            continue
        values = [_value(row.cells[column.key], part) for column in table.columns for part in table.layout]
        seeds = [str(row.done)] if table.seeds else []
        extra = [row.extra.get(key, "") for key in table.extra]
        writer.writerow([*(row.keys[key] for key in table.lead), *seeds, *values, *extra])
    return buffer.getvalue()


def _value(cell: Cell, part: str) -> str:
    if part.startswith("minus_"):
        return "" if cell.delta is None else f"{cell.delta:.8g}"
    if part == "seeds":
        return str(cell.statistic.n if cell.statistic else 0) if cell.planned else ""
    value = getattr(cell.statistic, part) if cell.statistic else None
    return "" if value is None else f"{value:.8g}"


def markdown(text: str) -> str:
    """Text with everything that Markdown would read as a mark escaped."""
    return re.sub(r"([\\`*_|])", r"\\\1", " ".join(text.split())).replace("<", "&lt;")


def to_markdown(table: Table) -> str:
    """A heading, a table per data set, the caption, notes, and reference rows in a section of their own."""
    lines = [f"# {table.title}", ""]
    lead = [key for key in table.lead if key != "dataset"]
    head = [HEADINGS[key] for key in lead] + (["Seeds"] if table.seeds else [])
    for name, rows in table.blocks():
        lines += [f"## {markdown(name)}", ""]
        lines += [_line([*head, *(markdown(column.title) for column in table.columns)])]
        lines += [_line(["---"] * len(lead) + ["--:"] * (len(table.columns) + table.seeds))]
        for row in rows:
            cells = []
            for column in table.columns:
                text, cell = markdown(words(row.cells[column.key], column, table.seeds)), row.cells[column.key]
                cells.append(f"**{text}**" if cell.best else text)
            seeds = [seeds_of(row)] if table.seeds else []
            lines.append(_line([*(markdown(row.words[key]) for key in lead), *seeds, *cells]))
        lines.append("")
    if not table.rows:
        lines += ["No run of this kind is planned.", ""]
    lines += [markdown(table.caption), ""] + [f"- {markdown(note)}" for note in table.notes]
    if table.references:
        lines += ["", "## Reference rows: another protocol, not comparable", ""]
        lines += [_line(["Data set", "Method", "Metric", "Value", "Protocol", "Source"]), _line(["---"] * 6)]
        for entry in table.references:
            parts = (entry.dataset, entry.method, entry.metric, entry.value, entry.protocol, entry.source)
            lines.append(_line([markdown(part) for part in parts]))
    return "\n".join(lines).rstrip() + "\n"


def _line(parts: list[str]) -> str:
    return "| " + " | ".join(parts) + " |"


def sentences(parts: Iterable[str]) -> str:
    """Captions and notes one after the other, each closed by a full stop."""
    return " ".join(entry if entry.endswith((".", ";")) else f"{entry}." for entry in parts)


def tex(text: str) -> str:
    """Text with everything that LaTeX would read as a command escaped."""
    return "".join(TEX.get(letter, letter) for letter in " ".join(text.split()))


def to_tex(table: Table) -> str:
    """A booktabs table; reference rows come last, under a rule and a line that says that their protocol differs."""
    lead = [key for key in table.lead if key != "dataset"]
    head = [HEADINGS[key] for key in lead] + (["Seeds"] if table.seeds else [])
    width = len(head) + len(table.columns)
    lines = [r"\begin{table}", r"\centering", r"\begin{tabular}{" + "l" * len(lead) + "r" * (width - len(lead)) + "}"]
    lines += [
        r"\toprule",
        " & ".join(tex(part) for part in [*head, *(column.title for column in table.columns)]) + r" \\",
    ]
    for name, rows in table.blocks():
        lines += [r"\midrule", rf"\multicolumn{{{width}}}{{l}}{{\emph{{{tex(name)}}}}} \\"]
        for row in rows:
            cells = []
            for column in table.columns:
                text = tex(words(row.cells[column.key], column, table.seeds))
                cells.append(rf"\textbf{{{text}}}" if row.cells[column.key].best else text)
            seeds = [seeds_of(row)] if table.seeds else []
            lines.append(" & ".join([*(tex(row.words[key]) for key in lead), *seeds, *cells]) + r" \\")
    if table.references:
        lines += [r"\midrule", rf"\multicolumn{{{width}}}{{l}}{{\emph{{Another protocol, not comparable}}}} \\"]
        for entry in table.references:
            told = f"{entry.method}, {entry.dataset}: {entry.metric} {entry.value} ({entry.protocol}; {entry.source})"
            lines.append(rf"\multicolumn{{{width}}}{{p{{0.9\linewidth}}}}{{{tex(told)}}} \\")
    note = sentences((table.caption, *table.notes))
    lines += [
        r"\bottomrule",
        r"\end{tabular}",
        rf"\caption{{{tex(note)}}}",
        rf"\label{{tab:{table.name}}}",
        r"\end{table}",
    ]
    return "% Needs \\usepackage{booktabs}.\n" + "\n".join(lines) + "\n"
