"""The tables of a suite. To add one, add an entry to ``TABLES``."""

import fnmatch
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from structgan import evaluation, provenance
from structgan.files import write_json, write_text
from structgan.report import ablations, comparisons, costs, curves, means, reproduction, results, trials, writers
from structgan.report.cells import NAMES, Cell, Heading, Row, Table, lead, word
from structgan.report.means import LAYOUT
from structgan.report.metrics import MAIN, Metric, shown
from structgan.report.results import SECTIONS, Group, Suite, group_of
from structgan.report.rows import footnotes
from structgan.report.statistics import summarize

REFERENCE = Path("results/reference/tables")
POINTS, LINES = 50, 10_000
"""Records of a run, evenly spread, and lines in training.csv, about, at most: the file is in git."""


@dataclass(frozen=True)
class Means:
    """A table with a row per configuration and a column per metric of an evaluation.

    Attributes:
        metrics: patterns of the metrics' names; by default all that no other table of the evaluation shows.
        extra: keys of the protocol that its csv file gives in columns of their own.
    """

    name: str
    title: str
    evaluation: str
    metrics: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()

    def pick(self, suite: Suite) -> list[Metric]:
        """Its metrics, in the order of the evaluation's columns."""
        others = [p for one in MEANS if one.evaluation == self.evaluation and one is not self for p in one.metrics]
        known, patterns = suite.metrics.get(self.evaluation, []), self.metrics or others
        wanted = bool(self.metrics)
        return [m for m in known if any(fnmatch.fnmatch(m.name, pattern) for pattern in patterns) == wanted]

    def __call__(self, suite: Suite) -> Table:
        """The table of a suite."""
        metrics, needs = self.pick(suite), evaluation.found()[self.evaluation].needs
        columns = {metric.name: metric for metric in metrics}
        shown = [group for group in suite.groups if needs or suite.asked(group, self.evaluation)]
        rows = []
        for _, groups in itertools.groupby(shown, key=lambda group: group.dataset):
            rows += means.block(suite, groups, columns, self.evaluation)
        for row in rows:
            of = suite.of(row.group, self.evaluation)
            known = suite.protocols[row.group.dataset][self.evaluation] if of else {}
            row.cells.update({key: word(known.get(key, "")) for key in self.extra})
        states = {row.cells[name].state for row in rows for name in columns}
        rows = rows if states & {"value", "missing"} else []
        lost = any(self.evaluation in suite.missing(run) for run in suite.runs)
        nested = [m.path.split(".")[0] for m in metrics if "." in m.path and not m.path.startswith(f"{m.star}.")]
        notes = means.notes(suite, rows, self.evaluation, dict.fromkeys(nested) or ("",))
        headings = means.headings(lead(*SECTIONS), columns, LAYOUT)
        return Table(
            self.name, self.title, (*headings, *(Heading(key, kind="csv") for key in self.extra)), rows,
            (*notes, *floors(suite, self.evaluation)), captions=(self.name, "means"),
            references=references(suite, columns), empty=" ".join(["Nothing was measured.", *(notes if lost else ())]),
            silent="" if rows or lost else "nothing was measured",
        )  # fmt: skip


def augmentation(suite: Suite) -> Table:
    """The linear probe by augmentation: a row per method and variant, with the difference to the contrast."""
    columns = dict.fromkeys(suite.regimes(), suite.metric("linear"))
    present, title = any(g.method == suite.contrast for g in suite.groups), suite.title("method", suite.contrast)
    layout, rows = (*LAYOUT, "seeds", *([f"minus_{suite.contrast}"] if present else [])), []
    bare = sorted({group._replace(augmentation="") for group in suite.ordered}, key=suite.place)
    for _, found in itertools.groupby(bare, key=lambda group: group.dataset):
        groups = list(found)
        base = next((group for group in groups if group.method == suite.contrast), None)
        at = lambda group, key: group._replace(augmentation=key)  # noqa: E731
        rows += means.block(suite, groups, columns, "probe", layout, base, at)
    headings = (means.heading(key, metric, layout, suite.title("augmentation", key)) for key, metric in columns.items())
    against = [f"In brackets: difference to {title} under the same augmentation, in points."] if present else []
    return Table(
        "augmentation", "Dependence on augmentation", (*lead("dataset", "method", "variant"), *headings), rows,
        (*against, *means.notes(suite, rows, "probe", ("linear",))), captions=("augmentation", "means"),
    )  # fmt: skip


MEANS = (
    Means("representation", "Representation", "probe"),
    Means("generation", "Generation", "fidelity", ("fid", "is"), ("extractor",)),
    Means(
        "generation_more", "Generation, more metrics", "fidelity",
        extra=("extractor", "extractor_sha256", "n_generated", "n_reference", "reference", "resizer", "backend"),
    ),
    Means("few_labels", "Few labels", "probe", ("linear_*pct",)),
    Means("release", "As the authors' release measures", "probe", ("kmeans_release*", "online_probe*")),
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
    made = [one for one in TABLES if not isinstance(one, Means) or one.evaluation in planned]
    others = [name for name in planned if name in suite.metrics and name not in known]
    made += [Means(name, name.replace("_", " ").capitalize(), name) for name in others]
    found = (*trials.tables(suite), *(make(suite) for make in made), *ablations.tables(suite))
    return {one.name: one._replace(footnotes=tuple(marked(suite, one.rows))) for one in found}


def marked(suite: Suite, rows: Iterable[Row]) -> Iterator[str]:
    """The footnotes of marks that belong to a whole configuration."""
    return footnotes(suite, [(cell.group or row.group, cell.marks) for row in rows for cell in row.cells.values()])


def floors(suite: Suite, name: str) -> Iterator[str]:
    """What a head reaches that sees nothing; it is the same for every run."""
    records = [record for group in suite.ordered for record in suite.of(group, name) if name == "dense"]
    for key, entry in next((record["metrics"] for record in records if record["metrics"]), {}).items():
        share = 100 * entry.get("miou_of_the_commonest_class", 0.0)
        yield f"{key}: predicting the commonest class everywhere has an mIoU of {share:.1f} %."


def references(suite: Suite, known: Mapping[str, Metric]) -> tuple[tuple[str, ...], ...]:
    """Published numbers of these metrics, the paper's own first."""
    found = []
    for entry in (*suite.plan.get("paper", []), *suite.plan.get("references", [])):
        if (metric := known.get(entry["metric"])) and entry["value"] is not None:
            value = f"{entry['value'] * metric.scale:.{metric.digits}f}"
            names = suite.title("dataset", entry["dataset"]), str(entry["method"]), metric.title
            found.append((*names, value, str(entry.get("protocol", "")), reproduction.source_of(entry)))
    return tuple(found)


def headline(suite: Suite) -> dict[str, Any]:
    """metrics.json: means over the finished seeds, by data set, method, augmentation, variant and metric."""
    found: dict[str, Any] = {}
    for group in suite.ordered:
        statistics = {name: statistic for name in MAIN if name != "is" and (statistic := suite.statistic(group, name))}
        if statistics:
            place = functools.reduce(lambda inner, key: inner.setdefault(key, {}), group, found)
            place |= {name: float(f"{statistic.mean:.8g}") for name, statistic in statistics.items()}
    return found


def training(suite: Suite) -> str:
    """training.csv: every finished run's losses, one a row, of at most ``POINTS`` records a run.

    They are fewer where the whole would have more than ``LINES``: first and last are always there.
    """
    columns, parts = ["dataset", "run", "step", "loss", "value"], []
    histories = [(run, suite.history(run)) for run in suite.runs if (run["run"], "training") in suite.records]
    points = max(1, min(POINTS, LINES // max(1, sum(history.shape[1] for _, history in histories))))
    for run, history in histories:
        name = "/".join((*group_of(run)[1:], f"seed={run['seed']}"))
        stride, last = max(1, -(-len(history) // points)), len(history) - 1
        kept = history[[at % stride == 0 or at == last for at in range(len(history))]]
        long = kept.rename_axis("step").reset_index().melt("step", var_name="loss").dropna()
        parts.append(long.sort_values("step", kind="stable").assign(dataset=run["dataset"], run=name))
    frame = pd.concat(part for part in parts if len(part)) if any(map(len, parts)) else pd.DataFrame(columns=columns)
    return str(frame.to_csv(columns=columns, index=False, lineterminator="\n", float_format="%.6g"))


def write(plan: str | Path | Suite, out_dir: str | Path) -> list[Path]:
    """Write results.csv, curves.csv and every table of a suite as csv, md and tex, and return the files.

    metrics.json and training.csv are for version control. ``plan`` is a suite, its plan's file, or its name.

    Raises:
        UserError: two protocols would meet in a column; then nothing is written.
    """
    suite, folder = results.read(plan), Path(out_dir)
    forms = {"csv": writers.to_csv, "md": writers.to_markdown, "tex": writers.to_tex}
    tables = build(suite)
    texts = {folder / f"{name}.{form}": to(table) for name, table in tables.items() for form, to in forms.items()}
    texts[folder / "results.csv"] = str(suite.frame.to_csv(index=False, lineterminator="\n"))
    texts[folder / "curves.csv"] = str(curves.load(suite).to_csv(index=False, lineterminator="\n"))
    texts[folder / "training.csv"] = training(suite)
    writers.clear(folder)
    for path, text in texts.items():
        write_text(path, text)
    write_json(folder / "metrics.json", headline(suite))
    made = [*texts, folder / "metrics.json"]
    return [*made, writers.seal(suite, folder, made)]


def reference(suite: Suite, columns: Mapping[str, Metric]) -> dict[Group, dict[str, Cell]]:
    """The means of a suite's tables in ``REFERENCE``, by configuration and metric.

    Raises:
        UserError: there are none, or they are damaged.
    """
    folder = suite.root / REFERENCE / suite.plan["suite"]
    seal = next(folder.glob("made_from-*.json"), folder / "made_from.json")
    file = provenance.read_companion(folder, provenance.read_sealed(seal), "results.csv")
    found: dict[Group, dict[str, Cell]] = {}
    frame = pd.read_csv(file, keep_default_na=False, na_values={"value": [""]})
    for keys, values in frame.groupby([*SECTIONS, "metric"], sort=False)["value"]:
        *names, name = map(str, keys)
        if (metric := columns.get(name)) and (statistic := summarize(values)):
            cell = Cell(shown(statistic.mean, metric), statistic=statistic, metric=metric)
            found.setdefault(Group(*names), {}).update({name: cell, "seeds": word(statistic.n)})
    return found


def show(plan: str | Path | Suite, against: bool = False) -> None:
    """Print the probes and the generation metrics of a suite as one table; ``against``: with the reference's rows."""
    suite, rows = results.read(plan), list[Row]()
    columns = {name: suite.metric(name) for name in MAIN}
    for _, groups in itertools.groupby(suite.groups, key=lambda group: group.dataset):
        rows += means.block(suite, groups, columns, "probe")
    kinds = [kind for kind in SECTIONS if kind == "method" or len({getattr(g, kind) for g in suite.groups}) > 1]
    titles = {kind: NAMES[kind] for kind in kinds} | {"seeds": "Seeds"}
    titles |= {name: metric.brief for name, metric in columns.items()}
    lines, theirs = [], reference(suite, columns) if against else {}
    for row in rows:
        lines.append([row.cells[key].text for key in titles])
        if against:
            other = {"method": word("  reference"), **theirs.get(row.group, {})}
            lines.append([other[key].text if key in other else "" for key in titles])
    frame = pd.DataFrame(lines, columns=list(titles.values()))
    aligned = ["left" if key in kinds else "right" for key in titles]
    table = frame.to_markdown(index=False, tablefmt="simple", disable_numparse=True, colalign=aligned)
    ties = ["≈: tied with the best of its block: the means differ by at most one pooled standard deviation."]
    print(suite.plan["title"], table, *ties * ("≈" in table), *marked(suite, rows), sep="\n\n")
