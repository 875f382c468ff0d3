"""The tables of a suite. To add one, add an entry to ``TABLES``."""

from __future__ import annotations

import fnmatch
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from structgan import evaluation
from structgan.files import write_json, write_text
from structgan.report import ablations, comparisons, costs, means, reproduction, results, series, writers
from structgan.report.cells import Heading, Table, lead, word
from structgan.report.means import LAYOUT, SEEDS
from structgan.report.metrics import Metric
from structgan.report.suite import SECTIONS, Suite


@dataclass(frozen=True)
class Means:
    """A table with a row per configuration and a column per metric of an evaluation.

    Attributes:
        metrics: patterns of the metrics' names; by default all that no other table of the evaluation shows.
        extra: keys of the protocol that its csv file gives in columns of their own.
        always: whether it is written where the evaluation is not planned, too.
    """

    name: str
    title: str
    evaluation: str
    metrics: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    always: bool = False

    def pick(self, suite: Suite) -> list[Metric]:
        """Its metrics, in the order of the evaluation's columns."""
        others = [p for one in MEANS if one.evaluation == self.evaluation and one is not self for p in one.metrics]
        known, patterns = suite.metrics.get(self.evaluation, []), self.metrics or others
        wanted = bool(self.metrics)
        return [m for m in known if any(fnmatch.fnmatch(m.name, pattern) for pattern in patterns) == wanted]

    def __call__(self, suite: Suite) -> Table:
        """The table of a suite."""
        metrics, needs = self.pick(suite), evaluation.found()[self.evaluation].needs
        recorded, rows = suite.protocols, []
        for group in (group for group in suite.ordered if group in suite.groups):
            if needs or suite.asked(group, self.evaluation):
                known = recorded[group.dataset][self.evaluation] if suite.of(group, self.evaluation) else {}
                cells = {key: word(known.get(key, "")) for key in self.extra}
                cells |= {metric.name: means.mean(suite, group, metric) for metric in metrics}
                rows.append(means.row(suite, group, self.evaluation, cells))
        means.mark(rows, {metric.name: metric for metric in metrics})
        headings = (*lead(*SECTIONS), SEEDS, *(means.heading(metric.name, metric) for metric in metrics))
        states = {row.cells[metric.name].state for row in rows for metric in metrics}
        nested = [m.path.split(".")[0] for m in metrics if "." in m.path and not m.path.startswith(f"{m.star}.")]
        notes = means.notes(suite, rows, self.evaluation, dict.fromkeys(nested) or ("",))
        return Table(
            self.name, self.title, (*headings, *(Heading(key, place="csv") for key in self.extra)), rows,
            (*notes, *floors(suite, self.evaluation)), captions=(self.name, "means"),
            references=references(suite, metrics),
            silent="" if states & {"value", "missing"} else "nothing was measured",
        )  # fmt: skip


def augmentation(suite: Suite) -> Table:
    """The linear probe by augmentation: a row per method and variant, with the difference to the contrast."""
    linear, regimes, rows = suite.metric("linear"), suite.regimes(), []
    present, title = any(g.method == suite.contrast for g in suite.groups), suite.title("method", suite.contrast)
    layout = (*LAYOUT, "seeds", *([f"minus_{suite.contrast}"] if present else []))
    columns = dict.fromkeys(regimes, linear)
    for dataset in dict.fromkeys(group.dataset for group in suite.ordered):
        block = []
        groups = {group._replace(augmentation="") for group in suite.ordered if group.dataset == dataset}
        for group in sorted(groups, key=suite.place):
            places = {key: group._replace(augmentation=key) for key in regimes}
            cells = {key: means.mean(suite, place, linear, layout) for key, place in places.items()}
            block.append(means.row(suite, group, "probe", cells))
        means.mark(block, columns)
        means.compare(block, columns, next((row for row in block if row.group.method == suite.contrast), None))
        rows += block
    headings = (means.heading(key, linear, layout, suite.title("augmentation", key)) for key in regimes)
    against = [f"In brackets: difference to {title} under the same augmentation, in points."] if present else []
    return Table(
        "augmentation", "Dependence on augmentation", (*lead("dataset", "method", "variant"), *headings), rows,
        (*against, *means.notes(suite, rows, "probe", ("linear",))), captions=("augmentation", "means"),
    )  # fmt: skip


MEANS = (
    Means("representation", "Representation", "probe", always=True),
    Means("generation", "Generation", "fidelity", ("fid", "is"), ("extractor",), True),
    Means(
        "generation_more", "Generation, more metrics", "fidelity", always=True,
        extra=("extractor", "extractor_sha256", "n_generated", "n_reference", "reference", "resizer", "backend"),
    ),
    Means("few_labels", "Few labels", "probe", ("linear_*pct",), always=True),
    Means("release", "As the authors' release measures", "probe", ("kmeans_release*", "online_probe*"), always=True),
    Means("dense", "Segmentation and detection", "dense"),
    Means("transfer", "Transfer to other data sets", "transfer"),
)  # fmt: skip
TABLES: tuple[Callable[[Suite], Table], ...] = (
    MEANS[0], augmentation, *MEANS[1:], comparisons.intervals, comparisons.table, reproduction.table, costs.table,
)  # fmt: skip
"""The tables in the page's order. An evaluation that no entry names gets a table of its own."""


def build(suite: Suite) -> dict[str, Table]:
    """Every table of a suite by name."""
    planned, known = suite.plan["evaluations"], {one.evaluation for one in MEANS}
    made = [one for one in TABLES if not isinstance(one, Means) or one.always or one.evaluation in planned]
    others = [name for name in planned if name in suite.metrics and name not in known]
    made += [Means(name, name.replace("_", " ").capitalize(), name) for name in others]
    return {table.name: table for table in (*(make(suite) for make in made), *ablations.tables(suite))}


def floors(suite: Suite, name: str) -> Iterator[str]:
    """What a head reaches that sees nothing; it is the same for every run."""
    records = [record for group in suite.ordered for record in suite.of(group, name) if name == "dense"][:1]
    for key, entry in (records[0]["metrics"] if records else {}).items():
        share = 100 * entry.get("miou_of_the_commonest_class", 0.0)
        yield f"{key}: predicting the commonest class everywhere has an mIoU of {share:.1f} %."


def references(suite: Suite, metrics: Sequence[Metric]) -> tuple[tuple[str, ...], ...]:
    """Published numbers of these metrics, the paper's own first."""
    known, found = {metric.name: metric for metric in metrics}, []
    for entry in (*suite.plan.get("paper", []), *suite.plan.get("references", [])):
        if (metric := known.get(entry["metric"])) and entry["value"] is not None:
            value = f"{entry['value'] * metric.scale:.{metric.digits}f}"
            names = suite.title("dataset", entry["dataset"]), str(entry["method"]), metric.title
            found.append((*names, value, str(entry.get("protocol", "")), reproduction.source_of(entry)))
    return tuple(found)


def write(plan: str | Path, out_dir: str | Path) -> list[Path]:
    """Write results.csv and every table of a suite as csv, md and tex.

    Args:
        plan: the plan's file, or the suite's name.
        out_dir: results/tables/<suite>.

    Returns:
        The files: results.csv, three of each table, metrics.json and training.csv for version control, made_from.json.

    Raises:
        UserError: two protocols would meet in a column or a file is damaged; then nothing is written.
    """
    suite, folder = results.read(plan), Path(out_dir)
    forms = {"csv": writers.to_csv, "md": writers.to_markdown, "tex": writers.to_tex}
    tables = build(suite)
    texts = {folder / f"{name}.{form}": to(table) for name, table in tables.items() for form, to in forms.items()}
    texts[folder / "results.csv"] = str(suite.frame.to_csv(index=False, lineterminator="\n"))
    texts[folder / "training.csv"] = series.training(suite)
    if absent := dict.fromkeys(run["run"] for run in suite.runs for name in suite.missing(run)):
        count = f"{len(absent)} of {len(suite.runs)} runs are not finished"
        print(f"{suite.file}: {count} (not counted), first {next(iter(absent))}", file=sys.stderr)
    suite.clear(folder)
    for path, text in texts.items():
        write_text(path, text)
    write_json(folder / "metrics.json", series.headline(suite))
    made = [*texts, folder / "metrics.json"]
    return [*made, suite.seal(folder, made)]
