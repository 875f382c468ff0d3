"""The page of a suite: one html file that holds its figures, tables, protocol and the runs behind every number."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from structgan import provenance
from structgan.files import write_text
from structgan.report import figures, results, runs, style, summary, svg, tables
from structgan.report.cells import NAMES, Table
from structgan.report.suite import Suite

TITLES = {
    "linear": "Linear probe", "svm": "Linear SVM", "kmeans": "k-means", "knn": "k nearest neighbors",
    "kmeans_release": "k-means of the release", "dataset": "Data", "fidelity": "Generation metrics",
}  # fmt: skip
KINDS = {"csv": "text/csv", "md": "text/markdown", "tex": "application/x-tex"}


def write(plan: str | Path, tables_dir: str | Path, figures_dir: str | Path, out_html: str | Path) -> Path:
    """Write the page. It loads nothing: styles, script and drawings are inside it.

    Args:
        plan: the plan's file, or the suite's name.
        tables_dir: results/tables/<suite>, whose files the page offers for download.
        figures_dir: results/figures/<suite>, whose svg files it shows.
        out_html: results/report/<suite>.html.

    Raises:
        UserError: two protocols would meet in a column, or a file is damaged.
    """
    from jinja2 import Environment, PackageLoader
    from markupsafe import Markup

    suite, folder, here = results.read(plan), Path(tables_dir), Path(__file__).parent
    made, (sources, environments) = tables.build(suite), runs.gather(suite)
    drawn = {one: svg.inline(Path(figures_dir) / f"{one.name}.svg", one.name, one.title) for one in figures.of(suite)}
    loader = PackageLoader("structgan.report", ".")
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["nbsp"] = lambda text: text.replace(" %", "\u00a0%").replace("top-1", "top\u20111")
    html = environment.get_template("page.html.j2").render(
        suite=suite,
        plan=suite.plan,
        totals=runs.totals(suite),
        headlines=summary.headlines(suite),
        figures={one.name: {"of": one, "svg": drawing} for one, drawing in drawn.items()},
        axes=[axis["file"] for axis in suite.axes],
        tables={name: _view(table, folder) for name, table in made.items() if not table.silent},
        silent=[(table, _downloads(folder, name)[:1]) for name, table in made.items() if table.silent],
        everything=_downloads(folder, "results"),
        references=dict.fromkeys(entry for table in made.values() for entry in table.references),
        protocols=_protocol(suite),
        sources=sources,
        environments=environments,
        columns=[suite.metric(name) for name in runs.SHOWN],
        slots={key: index for index, key in enumerate(style.colors(suite))},
        light=svg.variables(suite, False),
        dark=svg.variables(suite, True),
        css=Markup((here / "page.css").read_text(encoding="utf-8")),
        script=Markup((here / "page.js").read_text(encoding="utf-8")),
    )
    out = Path(out_html)
    write_text(out, html)
    provenance.write_sealed(out.with_suffix(".json"), {"suite": suite.plan["suite"], "plan": suite.file.name}, [out])
    return out


def _view(table: Table, folder: Path) -> dict[str, Any]:
    """A table as the template needs it. Left out are numbers that no row has, and names that are the same in each."""
    view: dict[str, Any] = {"table": table, "headings": [], "fixed": [], "tops": {}}
    for heading in (heading for heading in table.headings if heading.place != "csv"):
        cells = [row.cells[heading.key] for row in table.rows]
        if heading.key in NAMES and heading.key != "method" and len({cell.words for cell in cells}) == 1:
            view["fixed"].append((heading.title, cells[0].words))
        elif heading.kind != "number" or any(cell.csv[0] or cell.state == "missing" for cell in cells):
            view["headings"].append(heading)
        percent = any(cell.metric and cell.metric.unit == "%" for cell in cells)
        known = [1.0 if percent else cell.statistic.mean for cell in cells if cell.statistic]
        view["tops"][heading.key] = max(known, default=0.0)
    return {**view, "downloads": _downloads(folder, table.name)}


def _downloads(folder: Path, name: str) -> list[tuple[str, str, str]]:
    """The files of a table: format, name, and a link that holds the file."""
    files = [(form, folder / f"{name}.{form}") for form in KINDS if (folder / f"{name}.{form}").exists()]
    data = [f"data:{KINDS[form]};base64,{base64.b64encode(path.read_bytes()).decode()}" for form, path in files]
    return [(form, path.name, link) for (form, path), link in zip(files, data, strict=True)]


def _protocol(suite: Suite) -> list[tuple[str, list[runs.Card]]]:
    """Per data set a card for each evaluation, or for each of its parts where its protocol has parts."""
    found = []
    starred = [metric for known in suite.metrics.values() for metric in known if metric.star]
    labels = {metric.path.split(".")[0]: metric.label.removesuffix(", top-1") for metric in starred}
    for dataset, evaluations in suite.protocols.items():
        cards: dict[str, dict[str, str]] = {}
        for name, protocol in evaluations.items():
            for key, value in ((key, value) for key, value in protocol.items() if value is not None):
                part, _, rest = key.partition(".")
                title = part if rest else name
                title = TITLES.get(title) or labels.get(title) or title.replace("_", " ")
                cards.setdefault(title, {})[rest or part] = f"{value:g}" if isinstance(value, float) else str(value)
        found.append((suite.title("dataset", dataset), list(cards.items())))
    return found
