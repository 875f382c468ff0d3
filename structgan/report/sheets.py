"""Tables of words and numbers side by side, beside the tables of means: what one is, and how it is written."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace

from structgan.report import markup
from structgan.report.cells import DASH
from structgan.report.records import Group


@dataclass(frozen=True)
class Field:
    """A column of a sheet.

    Attributes:
        key: its csv column.
        title: its heading, with the unit.
        kind: ``number`` stands to the right and sorts as one, ``long`` is a text that may break, else ``word``.
        place: ``csv`` stands in the csv file only, ``block`` in the heading of its rows in Markdown and LaTeX.
    """

    key: str
    title: str
    kind: str = "word"
    place: str = "column"


@dataclass(frozen=True)
class Entry:
    """One cell: the words shown, the csv's text where it is another, and whether it stands out.

    ``ours`` is False where the number is somebody else's, so that no run of ours is behind it.
    """

    words: str = ""
    raw: str | None = None
    strong: bool = False
    ours: bool = True

    @property
    def text(self) -> str:
        """What the csv holds."""
        return self.words if self.raw is None else self.raw


@dataclass(frozen=True)
class Line:
    """A row: the block that it belongs to, its cells by key of their field, and the configuration that it is about."""

    block: str
    entries: dict[str, Entry]
    group: Group


@dataclass(frozen=True)
class Sheet:
    """A table before it is written in any format; ``empty`` says why it has no rows."""

    name: str
    title: str
    fields: tuple[Field, ...]
    lines: tuple[Line, ...]
    caption: str
    notes: tuple[str, ...] = ()
    empty: str = "No run of this kind is planned."

    def blocks(self) -> list[tuple[str, list[Line]]]:
        """Rows by block, in order."""
        found: dict[str, list[Line]] = {}
        for line in self.lines:
            found.setdefault(line.block, []).append(line)
        return list(found.items())

    def shown(self) -> list[Field]:
        """The columns of the Markdown and LaTeX forms."""
        return [field for field in self.fields if field.place == "column"]


def number(value: float | None, words: str, strong: bool = False) -> Entry:
    """A number of ours, a dash where there is none."""
    return Entry(words, f"{value:.8g}", strong) if value is not None else Entry(DASH, "")


def to_csv(sheet: Sheet) -> str:
    """Raw keys and full numbers; what has no number is empty."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([field.key for field in sheet.fields])
    for line in sheet.lines:
        writer.writerow([line.entries[field.key].text for field in sheet.fields])
    return buffer.getvalue()


def to_markdown(sheet: Sheet) -> str:
    """A heading, a table per block, the caption and the notes."""
    shown, escape = sheet.shown(), markup.markdown
    lines = [f"# {sheet.title}", ""]
    for name, rows in sheet.blocks():
        lines += [f"## {escape(name)}", "", _bars([escape(field.title) for field in shown])]
        lines.append(_bars(["--:" if field.kind == "number" else "---" for field in shown]))
        for row in rows:
            entries = [row.entries[field.key] for field in shown]
            texts = [f"**{escape(e.words)}**" if e.strong and e.words else escape(e.words) for e in entries]
            lines.append(_bars(texts))
        lines.append("")
    if not sheet.lines:
        lines += [sheet.empty, ""]
    lines += [escape(sheet.caption), ""] + [f"- {escape(note)}" for note in sheet.notes]
    return "\n".join(lines).rstrip() + "\n"


def _bars(parts: list[str]) -> str:
    return "| " + " | ".join(parts) + " |"


def to_tex(sheet: Sheet) -> str:
    """A booktabs table, a block under a heading of its own; a long text breaks."""
    shown, escape = sheet.shown(), markup.tex
    kinds = {"number": "r", "long": r"p{0.3\linewidth}"}
    lines = [r"\begin{table}", r"\centering"]
    lines.append(r"\begin{tabular}{" + "".join(kinds.get(field.kind, "l") for field in shown) + "}")
    lines += [r"\toprule", " & ".join(escape(field.title) for field in shown) + r" \\"]
    for name, rows in sheet.blocks():
        lines += [r"\midrule", rf"\multicolumn{{{len(shown)}}}{{l}}{{\emph{{{escape(name)}}}}} \\"]
        for row in rows:
            entries = [row.entries[field.key] for field in shown]
            texts = [rf"\textbf{{{escape(e.words)}}}" if e.strong and e.words else escape(e.words) for e in entries]
            lines.append(" & ".join(texts) + r" \\")
    note = markup.sentences((sheet.caption, *sheet.notes))
    lines += [r"\bottomrule", r"\end{tabular}", rf"\caption{{{escape(note)}}}", rf"\label{{tab:{sheet.name}}}"]
    return "% Needs \\usepackage{booktabs}.\n" + "\n".join([*lines, r"\end{table}"]) + "\n"


def narrow(sheet: Sheet) -> Sheet:
    """The sheet as the page shows it: every column but the csv's own and headings that say the same in every row."""
    kept = [
        field
        for field in sheet.fields
        if field.place != "csv" and (field.place != "block" or _differ(sheet.lines, field.key))
    ]
    return replace(sheet, fields=tuple(kept))


def _differ(lines: Sequence[Line], key: str) -> bool:
    return len({line.entries[key].words for line in lines}) > 1
