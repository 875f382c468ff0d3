"""The page of a suite: one html file that holds its figures, tables, protocol and the provenance of every number."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from structgan.files import write_text
from structgan.report import (
    axes,
    drawings,
    evidence,
    highlights,
    layouts,
    markup,
    protocols,
    provenance,
    records,
    sheets,
    style,
)
from structgan.report.cells import DASH, Cell, Column, Row, Table

FIGURES = {
    "augmentation": (
        "Accuracy by augmentation regime",
        "Linear probe on frozen features. Lines: mean over seeds; dots: seeds; band: ± one standard deviation. "
        "Dashed: references.",
    ),
    "ablation": (
        "Ablation",
        "Every variant of a method, all else equal; the dotted line is the full variant, the bar ± std.",
    ),
    "samples": ("Generated images", "Uncurated samples of the first finished seed, enlarged without smoothing."),
    "features": (
        "Map of the features",
        "Test features in two dimensions, coloured by class, first finished seed; the number is its linear top-1.",
    ),
    "training": (
        "Training",
        "Losses and speed by optimiser step, running mean over a fifteenth of the run. Thin lines: seeds, thick: mean.",
    ),
}
PROTOCOL_ROWS = {
    "linear": "Linear probe", "svm": "Linear SVM", "kmeans": "k-means", "knn": "k nearest neighbours",
    "few_labels": "Few labels", "kmeans_release": "k-means of the release", "online_probe": "Online probe",
    "dataset": "Data",
}  # fmt: skip


def write(
    plan_file: str | Path,
    tables_dir: str | Path,
    figures_dir: str | Path,
    out_html: str | Path,
    include_stale: bool = False,
) -> Path:
    """Write the page. It loads nothing: styles, script and drawings are inside it.

    Args:
        plan_file: results/runs/<suite>/plan.json.
        tables_dir: results/tables/<suite>, whose files the page offers for download.
        figures_dir: results/figures/<suite>, whose svg files it shows.
        out_html: results/report/<suite>.html.
        include_stale: count runs of another identity, marked †.

    Raises:
        UserError: two protocols would meet in a column, or a file is damaged.
    """
    from jinja2 import Environment, PackageLoader
    from markupsafe import Markup

    suite = records.read(plan_file, include_stale)
    tables = layouts.build(suite) | axes.tables(suite)
    sources, environments = provenance.gather(suite)
    anchors = {source.group: source.anchor for source in sources}
    loader = PackageLoader("structgan.report", ".")
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    assets = Path(__file__).parent
    figures = {
        name: {"title": title, "words": words, "svg": drawings.inline(Path(figures_dir) / f"{name}.svg", name, title)}
        for name, (title, words) in (FIGURES | axes.captions(suite)).items()
    }
    html = environment.get_template("page.html.j2").render(
        suite=suite,
        plan=suite.plan,
        made_from=records.results(suite),
        totals=provenance.totals(suite),
        headlines=highlights.headlines(suite),
        figures=figures,
        axes=[axis["file"] for axis in suite.plan.get("axes", {}).values()],
        tables=[_view(suite, table, anchors, Path(tables_dir)) for table in tables.values()],
        sheets=[
            _beside(sheet, anchors, slots(suite), Path(tables_dir)) for sheet in evidence.build(suite, tables).values()
        ],
        references=[entry for table in tables.values() for entry in table.references],
        protocols=_protocol(suite),
        sources=sources,
        environments=environments,
        anchors=anchors,
        columns=provenance.COLUMNS,
        slots=slots(suite),
        light=Markup(drawings.variables(suite, False)),
        dark=Markup(drawings.variables(suite, True)),
        css=Markup((assets / "page.css").read_text(encoding="utf-8")),
        script=Markup((assets / "page.js").read_text(encoding="utf-8")),
    )
    write_text(out_html, html)
    return Path(out_html)


def slots(suite: records.Suite) -> dict[str, int]:
    """Number of each method's colour variable on the page."""
    return {key: index for index, key in enumerate(style.colours(suite))}


def _view(suite: records.Suite, table: Table, anchors: dict[records.Group, str], folder: Path) -> dict[str, Any]:
    """A table as the template needs it; leading columns that say the same in every row are left out."""
    varying = [key for key in table.lead if key == "method" or len({row.words[key] for row in table.rows}) > 1]
    numbered = slots(suite)
    tops = {column.key: _top(table, column) for column in table.columns}
    rows = [
        {
            "lead": [(row.words[key], index) for index, key in enumerate(varying)],
            "slot": numbered.get(row.keys["method"], 0),
            "labels": row.uses_labels,
            "seeds": markup.seeds_of(row) if table.seeds else None,
            "short": row.done < row.planned,
            "done": row.done,
            "cells": [_cell(table, row, column, anchors, tops[column.key]) for column in table.columns],
            "order": order,
        }
        for order, row in enumerate(table.rows)
    ]
    return {
        "table": table,
        "lead": [(key, markup.HEADINGS[key]) for key in varying],
        "method": varying.index("method"),
        "fixed": [(markup.HEADINGS[k], table.rows[0].words[k]) for k in table.lead if k not in varying] if rows else [],
        "rows": rows,
        "downloads": _downloads(folder, table.name),
    }


def _beside(
    sheet: sheets.Sheet, anchors: dict[records.Group, str], numbered: dict[str, int], folder: Path
) -> dict[str, Any]:
    """A sheet as the template needs it: its columns, and each line's cells, configuration and colour."""
    narrow = sheets.narrow(sheet)
    rows = [
        {
            "cells": [(field, line.entries[field.key]) for field in narrow.fields],
            "anchor": anchors.get(line.group),
            "slot": numbered.get(line.group.method, 0),
            "order": order,
        }
        for order, line in enumerate(sheet.lines)
    ]
    return {"sheet": narrow, "rows": rows, "downloads": _downloads(folder, sheet.name)}


def _top(table: Table, column: Column) -> float:
    """The value whose bar fills its cell: 100 % for an accuracy, else the column's largest mean."""
    found = [entry.mean for row in table.rows if (entry := row.cells[column.key].statistic)]
    return 1.0 if column.scale == 100.0 else max(found, default=0.0)


def _cell(table: Table, row: Row, column: Column, anchors: dict[records.Group, str], top: float) -> dict[str, Any]:
    """One number: words, sort value, length of its bar in per cent, marks, and where it comes from."""
    cell: Cell = row.cells[column.key]
    regime = row.keys.get("augmentation", column.key)
    group = records.Group(row.keys["dataset"], row.keys["method"], regime, row.keys["variant"])
    view: dict[str, Any] = {"cell": cell, "anchor": anchors.get(group), "value": "", "bar": 0, "words": "", "delta": ""}
    if cell.statistic is None:
        view["words"] = {"missing": "missing", "no sample": DASH, "not applicable": "n/a"}.get(cell.state, "")
        return view
    mean, std = cell.statistic.mean, cell.statistic.std
    view |= {
        "words": markup.shown(mean, column),
        "std": "" if std is None else f"± {markup.shown(std, column, mean)}",
        "value": f"{mean:.8g}",
        "bar": round(max(0.0, min(100.0, 100 * mean / top)), 1) if top > 0 else 0,
        "delta": "" if cell.delta is None else markup.signed(cell.delta, column, mean),
        "good": cell.delta is not None and cell.delta * column.better > 0,
        "short": f"{cell.statistic.n}/{cell.planned}" if cell.statistic.n < cell.planned and not table.seeds else "",
    }
    return view


def _downloads(folder: Path, name: str) -> list[tuple[str, str, str]]:
    return [link for form in ("csv", "md", "tex") if (link := _download(folder / f"{name}.{form}", form))]


def _download(path: Path, form: str) -> tuple[str, str, str] | None:
    if not path.exists():
        return None
    kind = {"csv": "text/csv", "md": "text/markdown", "tex": "application/x-tex"}[form]
    return form, path.name, f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _protocol(suite: records.Suite) -> list[tuple[str, list[tuple[str, list[tuple[str, str]]]]]]:
    """Per data set: (what, [(key, value)]) for each probe and for the generation metrics."""
    shown = []
    for dataset, found in protocols.by_dataset(suite).items():
        cards: list[tuple[str, list[tuple[str, str]]]] = []
        probe = found.get("probe", {})
        for name in dict.fromkeys(key.split(".")[0] for key in probe):
            pairs = [
                (k.removeprefix(f"{name}."), v) for k, v in probe.items() if k.split(".")[0] == name and v is not None
            ]
            title = PROTOCOL_ROWS.get(name, layouts.label(name))
            cards += [(title, [(key, _text(value)) for key, value in pairs])] if pairs else []
        if fidelity := found.get("fidelity"):
            pairs = [(key, value) for key, value in fidelity.items() if value is not None and "." not in key]
            cards.append(("Generation metrics", [(key, _text(value)) for key, value in pairs]))
        for kind, title in (("dense", "Segmentation and detection"), ("transfer", "Transfer")):
            if extra := found.get(kind):
                cards.append((title, [(key, _text(value)) for key, value in extra.items() if value is not None]))
        shown.append((suite.title("dataset", dataset), cards))
    return shown


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
