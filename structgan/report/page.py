"""The page of a suite: one html file that holds its figures, tables, protocol and the runs behind every number."""

import base64
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from structgan import provenance
from structgan.files import write_text
from structgan.report import curves, figures, results, runs, style, tables, writers
from structgan.report.cells import NAMES, Table
from structgan.report.means import SEEDS
from structgan.report.metrics import MAIN, shown, text
from structgan.report.results import Group, Suite
from structgan.report.rows import OTHER, RISING
from structgan.report.statistics import paired

MARKS = {
    "≈": "tied with the best", "‡": "a solver did not converge", "†": "damaged files are not counted",
    RISING: "not converged", OTHER: "another encoder than the main row's",
}  # fmt: skip
KINDS = {"csv": "text/csv", "md": "text/markdown", "tex": "application/x-tex", "svg": "image/svg+xml"}


def write(plan: str | Path | Suite, tables_dir: str | Path, figures_dir: str | Path, out_html: str | Path) -> Path:
    """Write the page. It loads nothing: styles, script, drawings and the tables' files are inside it.

    Raises:
        UserError: two protocols would meet in a column, or a table or figure is damaged.
    """
    suite, here = results.read(plan), Path(__file__).parent
    files, drawn = _sealed(suite, Path(tables_dir)), _sealed(suite, Path(figures_dir))
    made, (sources, environments) = tables.build(suite), runs.gather(suite)
    loader = PackageLoader("structgan.report", ".")
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "nbsp": lambda text: text.replace(" %", "\u00a0%").replace("top-1", "top\u20111"),
        "shown": shown,
        "utc": lambda seconds: f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}",
    }
    palette = style.colors(suite)
    html = environment.get_template("page.html.j2").render(
        suite=suite,
        plan=suite.plan,
        totals=runs.totals(suite),
        headlines=headlines(suite),
        paired=paired,
        figures={one.name: {"of": one, **_drawing(drawn, one.name)} for one in figures.of(suite)},
        curves=[] if curves.load(suite).empty else [one.name for one in figures.CURVES],
        marks=MARKS,
        axes=[axis["file"] for axis in suite.axes],
        tables={name: _view(table, files) for name, table in made.items() if not table.silent},
        silent=[(table, _downloads(files, name)[:1]) for name, table in made.items() if table.silent],
        everything=_downloads(files, "results"),
        references=dict.fromkeys(entry for table in made.values() for entry in table.references),
        protocols={suite.title("dataset", key): _protocol(found) for key, found in suite.protocols.items()},
        sources=sources,
        environments=environments,
        metric={name: suite.metric(name) for name in MAIN},
        slots={key: index for index, key in enumerate(palette)},
        palette=[(color, style.DARK[color]) for color in palette.values()],
        css=Markup((here / "page.css").read_text(encoding="utf-8")),
        script=Markup((here / "page.js").read_text(encoding="utf-8")),
    )
    out = Path(out_html)
    write_text(out, html)
    provenance.write_sealed(out.with_suffix(".json"), {"suite": suite.plan["suite"], "plan": suite.file.name}, [out])
    return out


def headlines(suite: Suite) -> list[dict[str, Any]]:
    """The key numbers of each data set on which the suite's own method has some, under its first augmentation.

    ``own`` is the linear probe of the own method. ``rivals`` are those of the methods without labels under the same
    augmentation, the contrast first, then the best; a reference is there under the only augmentation that it has.
    ``fids`` are the FIDs of all of them.
    """
    numbers = {one: found for one in filter(suite.is_main, suite.groups) if (found := suite.statistic(one, "linear"))}
    kinds = {key: entry.get("kind") for key, entry in suite.plan["methods"].items()}
    made: dict[str, dict[str, Any]] = {}
    for group in (one for one in numbers if kinds[one.method] == "method"):
        rivals: dict[str, Group] = {}
        for other in (one for one in numbers if one.dataset == group.dataset and one.method != group.method):
            fits = other.augmentation == group.augmentation or kinds[other.method] == "reference"
            if fits and not suite.method(other.method).get("uses_labels"):
                rivals.setdefault(other.method, other)
        ordered = sorted(rivals.values(), key=lambda other: (other.method != suite.contrast, -numbers[other].mean))
        fids = {one: fid for one in (group, *ordered) if (fid := suite.statistic(one, "fid"))}
        probes = {other: numbers[other] for other in ordered}
        made.setdefault(group.dataset, {"group": group, "own": numbers[group], "rivals": probes, "fids": fids})
    return list(made.values())


def _link(form: str, content: bytes) -> str:
    """A link that holds a file."""
    return f"data:{KINDS[form]};base64,{base64.b64encode(content).decode()}"


def _sealed(suite: Suite, folder: Path) -> dict[str, bytes]:
    """The files by name that were made from the suite's plan, verified; empty where none were made."""
    seal = writers.seal_path(suite, folder)
    if not seal.exists():
        return {}
    record = provenance.read_sealed(seal)
    names = [name for name in record["checksums"]["files"] if Path(name).suffix[1:] in KINDS]
    return {name: provenance.read_companion(folder, record, name).read_bytes() for name in names}


def _drawing(files: Mapping[str, bytes], name: str) -> dict[str, Any]:
    """A link that holds a figure's svg, in the colors of the reader's color scheme; empty where it is not drawn.

    ``width`` is its own, in CSS pixels.
    """
    if f"{name}.svg" not in files:
        return {}
    svg = files[f"{name}.svg"].decode().replace(f"fill: {style.PAPER}", "fill: none")
    svg = re.sub("|".join(style.DARK), lambda match: f"var(--c{match[0][1:]})", svg)
    light = "".join(f"--c{color[1:]}:{color};" for color in style.DARK)
    dark = "".join(f"--c{color[1:]}:{other};" for color, other in style.DARK.items())
    rules = f"<style>:root{{{light}}}@media (prefers-color-scheme: dark){{:root{{{dark}}}}}</style>"
    source = _link("svg", re.sub(r"(<svg[^>]*>)", lambda match: match[0] + rules, svg, count=1).encode())
    points = svg.partition(' width="')[2].partition('pt"')[0]
    return {"src": source, "width": round(float(points) * 4 / 3)}


def _view(table: Table, files: Mapping[str, bytes]) -> dict[str, Any]:
    """A table as the template needs it: names, then numbers, then other words.

    Left out are numbers that no row has, and names that are the same in each.
    """
    view: dict[str, Any] = {"table": table, "headings": [], "fixed": [], "tops": {}}
    for heading in (heading for heading in table.headings if heading.kind != "csv"):
        cells = [row.cells[heading.key] for row in table.rows]
        if heading.key in NAMES and heading.key != "method" and len({cell.words for cell in cells}) == 1:
            view["fixed"].append((heading.title, cells[0].words))
        elif heading.kind != "number" or any(cell.csv[0] or cell.state == "missing" for cell in cells):
            view["headings"].append(heading)
        percent = any(cell.metric and cell.metric.unit == "%" for cell in cells)
        known = [1.0 if percent else cell.statistic.mean for cell in cells if cell.statistic]
        view["tops"][heading.key] = max(known, default=0.0)
    last = (SEEDS.key, "runs")
    view["headings"].sort(key=lambda one: (one.key not in NAMES, one.kind != "number", one.key in last))
    view["words"] = [heading.key for heading in view["headings"] if heading.key in NAMES and heading.key != "method"]
    return {**view, "downloads": _downloads(files, table.name)}


def _downloads(files: Mapping[str, bytes], name: str) -> list[tuple[str, str, str]]:
    """The files of a table: format, name, and a link that holds the file."""
    named = ((form, f"{name}.{form}") for form in KINDS)
    return [(form, file, _link(form, files[file])) for form, file in named if file in files]


def _protocol(evaluations: dict[str, dict[str, Any]]) -> dict[str, dict[str, str]]:
    """A card for each evaluation of a data set, or for each part of its protocol where it has parts."""
    cards: dict[str, dict[str, str]] = {}
    for name, protocol in evaluations.items():
        for key, value in ((key, value) for key, value in protocol.items() if value is not None):
            part, _, rest = key.partition(".")
            cards.setdefault((part if rest else name).replace("_", " "), {})[rest or part] = text(value)
    return cards
