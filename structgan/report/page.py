"""The page of a suite: one html file that holds its figures, tables, protocol and the runs behind every number."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from structgan.files import write_text
from structgan.report import figures, protocols, results, runs, style, summary, svg, tables
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

    suite, folder = results.read(plan), Path(tables_dir)
    made, (sources, environments) = tables.build(suite), runs.gather(suite)
    environment = Environment(
        loader=PackageLoader("structgan.report", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["nbsp"] = lambda text: text.replace(" %", "\u00a0%").replace("top-1", "top\u20111")
    css, script = (
        Markup(Path(__file__).with_name(name).read_text(encoding="utf-8")) for name in ("page.css", "page.js")
    )
    html = environment.get_template("page.html.j2").render(
        suite=suite,
        plan=suite.plan,
        totals=runs.totals(suite),
        headlines=summary.headlines(suite),
        figures={
            one.name: {"of": one, "svg": svg.inline(Path(figures_dir) / f"{one.name}.svg", one.name, one.title)}
            for one in figures.of(suite)
        },
        axes=[axis["file"] for axis in suite.axes],
        tables={name: _view(suite, table, folder) for name, table in made.items() if not table.silent},
        silent=[(table, _downloads(folder, name)[:1]) for name, table in made.items() if table.silent],
        everything=_downloads(folder, "results"),
        references=dict.fromkeys(entry for table in made.values() for entry in table.references),
        protocols=_protocol(suite),
        sources=sources,
        environments=environments,
        anchors={source.group: source.anchor for source in sources},
        columns=[suite.metric(name) for name in runs.SHOWN],
        slots={key: index for index, key in enumerate(style.colors(suite))},
        light=svg.variables(suite, False),
        dark=svg.variables(suite, True),
        css=css,
        script=script,
    )
    write_text(out_html, html)
    return Path(out_html)


def _view(suite: Suite, table: Table, folder: Path) -> dict[str, Any]:
    """A table as the template needs it; a column of names that says the same in every row is left out."""
    kept, fixed = [], []
    for heading in (heading for heading in table.headings if heading.place != "csv"):
        words = {row.cells[heading.key].words for row in table.rows}
        if heading.key in NAMES and heading.key != "method" and len(words) == 1:
            fixed.append((heading.title, words.pop()))
        else:
            kept.append(heading)
    tops = {}
    for heading in kept:
        known = [(cell.statistic, cell.metric) for row in table.rows if (cell := row.cells[heading.key]).statistic]
        percent = any(metric and metric.unit == "%" for _, metric in known)
        tops[heading.key] = (
            1.0 if percent else max((statistic.mean for statistic, _ in known if statistic), default=0.0)
        )
    return {"table": table, "headings": kept, "fixed": fixed, "tops": tops, "downloads": _downloads(folder, table.name)}


def _downloads(folder: Path, name: str) -> list[tuple[str, str, str]]:
    """The files of a table: format, name, and a link that holds the file."""
    paths = [path for form in KINDS if (path := folder / f"{name}.{form}").exists()]
    data = [base64.b64encode(path.read_bytes()).decode() for path in paths]
    return [(p.suffix[1:], p.name, f"data:{KINDS[p.suffix[1:]]};base64,{d}") for p, d in zip(paths, data, strict=True)]


def _protocol(suite: Suite) -> list[tuple[str, list[runs.Card]]]:
    """Per data set a card for each evaluation, or for each of its parts where its protocol has parts."""
    found = []
    for dataset, evaluations in protocols.by_dataset(suite).items():
        cards: dict[str, dict[str, str]] = {}
        for name, protocol in evaluations.items():
            for key, value in protocol.items():
                part, _, rest = key.rpartition(".") if key.startswith("dataset.") else key.partition(".")
                title = part if rest else name
                if value is not None:
                    words = f"{value:g}" if isinstance(value, float) else str(value)
                    cards.setdefault(TITLES.get(title, title.replace("_", " ")), {})[rest or part] = words
        found.append((suite.title("dataset", dataset), list(cards.items())))
    return found
