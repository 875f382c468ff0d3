"""The tables of a suite on the disk, and the summary that the terminal shows."""

from __future__ import annotations

import sys
from pathlib import Path

from structgan.files import read_json, write_json, write_text
from structgan.identity.protocol import OPTIONAL
from structgan.report import axes, evidence, layouts, markup, records, series, sheets
from structgan.report.cells import DASH

WIDE = 150


def write(plan_file: str | Path, out_dir: str | Path, include_stale: bool = False) -> list[Path]:
    """Write every table as csv, md and tex.

    Args:
        plan_file: results/runs/<suite>/plan.json.
        out_dir: results/tables/<suite>.
        include_stale: count runs of another identity, marked †; by default they are not finished.

    Returns:
        The files: representation, release, few_labels, generation, generation_more, augmentation, ablation, one for
        each axis of the suite, dense and transfer where the suite asks for them, and beside them statistics,
        comparisons, verdicts, cost, each in three forms; metrics.json and training.csv, which version control compares;
        made_from.json.

    Raises:
        UserError: a column would mix two protocols (nothing is written), or a file is damaged.
    """
    suite = records.read(plan_file, include_stale)
    tables = layouts.build(suite) | axes.tables(suite)
    for line in warnings(suite):
        print(line, file=sys.stderr)
    forms = {"csv": markup.to_csv, "md": markup.to_markdown, "tex": markup.to_tex}
    texts = {
        Path(out_dir) / f"{name}.{form}": to(table) for name, table in tables.items() for form, to in forms.items()
    }
    forms_beside = {"csv": sheets.to_csv, "md": sheets.to_markdown, "tex": sheets.to_tex}
    for name, sheet in evidence.build(suite, tables).items():
        texts |= {Path(out_dir) / f"{name}.{form}": to(sheet) for form, to in forms_beside.items()}
    texts[Path(out_dir) / "training.csv"] = series.training(suite)
    for path, text in texts.items():
        write_text(path, text)
    metrics = Path(out_dir) / "metrics.json"
    write_json(metrics, series.headline(suite))
    return [*texts, metrics, records.sign(suite, Path(out_dir), [*texts, metrics])]


def warnings(suite: records.Suite) -> list[str]:
    """One line for what is not finished and one for what is stale."""
    lines = []
    for state, told in (
        ("missing", "not finished"),
        ("stale", "of another identity, protocol or source than the plan"),
    ):
        kinds = ["probe", "fidelity", *(kind for kind in OPTIONAL if kind in suite.frame)]
        rows = suite.frame.index[(suite.frame[kinds] == state).any(axis=1)]
        if len(rows):
            counted = "marked †" if state == "stale" and suite.include_stale else "not counted"
            first = str(suite.frame.at[rows[0], "run"])
            lines.append(f"{suite.file}: {len(rows)} of {len(suite.frame)} runs are {told} ({counted}), first {first}")
    return lines


def print_summary(plan_file: str | Path, tables_dir: str | Path) -> None:
    """Print representation and generation, as their csv files have them, as one table on the terminal."""
    import pandas as pd
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    plan, folder = read_json(plan_file), Path(tables_dir)
    lead = list(records.SECTIONS)
    frame = pd.read_csv(
        folder / "representation.csv", dtype=dict.fromkeys(lead, str), keep_default_na=False, na_values=[""]
    )
    more = pd.read_csv(folder / "generation.csv", dtype=dict.fromkeys(lead, str), keep_default_na=False, na_values=[""])
    columns = (*layouts.PROBES, *layouts.GENERATION)
    frame = frame.merge(more.drop(columns="seeds"), on=lead, how="left")
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDE)
    table = Table(
        title=escape(str(plan.get("title", plan["suite"]))), title_style="bold", box=SIMPLE_HEAD, pad_edge=False
    )
    kinds = [kind for kind in lead if kind == "method" or frame[kind].nunique() > 1]
    for kind in kinds:
        table.add_column(markup.HEADINGS[kind])
    for heading in ("Seeds", *(column.short for column in columns)):
        table.add_column(heading, justify="right", no_wrap=True)
    labelled = frame["method"].map(lambda key: bool(plan["methods"].get(key, {}).get("uses_labels"))).astype(bool)
    best = {
        column.key: (column.better * frame[f"{column.key}_mean"].where(~labelled))
        .groupby(frame["dataset"])
        .transform("max")
        for column in columns
    }
    previous: tuple[str, ...] = ()
    for index, row in enumerate(frame.to_dict("records")):
        names = [
            escape(str(plan[records.SECTIONS[kind]].get(row[kind], {}).get("title") or row[kind])) for kind in kinds
        ]
        names[kinds.index("method")] += " (labels)" if labelled[index] else ""
        cells = []
        for column in columns:
            mean, std = row[f"{column.key}_mean"], row[f"{column.key}_std"]
            text = DASH if pd.isna(mean) else markup.shown(mean, column)
            if not pd.isna(std) and (console.width >= WIDE or column.key in ("linear", "fid")):
                text += f" ± {markup.shown(std, column, mean)}"
            cells.append(f"[bold green]{text}[/]" if column.better * mean == best[column.key][index] else text)
        family = (str(row["dataset"]), str(row["method"]))
        if previous == family:
            names[: kinds.index("method") + 1] = [""] * (kinds.index("method") + 1)
        elif previous:
            table.add_section()
        previous = family
        table.add_row(*names, str(row["seeds"]), *cells)
    console.print(table)
