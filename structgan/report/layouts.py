"""The tables of a suite: which rows and columns each has, and what its caption says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from structgan.report import beyond, protocols
from structgan.report.cells import Cell, Column, Row, Statistic, Table, mark_best, summarise, tied
from structgan.report.notes import notes_of, protocol_notes, references_of
from structgan.report.records import RELEASE as RELEASE_PLACES
from structgan.report.records import SECTIONS, Group, Suite, rank

PROBES = (
    Column("linear", "Linear probe, top-1 %", short="Linear %"),
    Column("svm", "Linear SVM, top-1 %", short="SVM %"),
    Column("kmeans", "k-means, accuracy %", short="k-means %"),
    Column("knn", "kNN, top-1 %", short="kNN %"),
)
RELEASE = (
    Column("kmeans_release", "k-means of h, accuracy %"),
    Column("kmeans_release_live", "k-means of h, D in training, accuracy %"),
    Column("kmeans_release_e", "k-means of e, accuracy %"),
    Column("kmeans_release_e_live", "k-means of e, D in training, accuracy %"),
    Column("online_probe", "Online probe, top-1 %"),
    Column("online_probe_ema", "Online probe of the average, top-1 %"),
)
FID = Column("fid", "FID ↓", 1.0, 2, -1, short="FID ↓")
GENERATION = (FID, Column("is", "Inception Score ↑", 1.0, 2, short="IS ↑"))
GENERATION_MORE = (
    Column("kid", "KID × 1000 ↓", 1000.0, 2, -1),
    Column("precision", "Precision ↑", 1.0, 3),
    Column("recall", "Recall ↑", 1.0, 3),
)
PROTOCOL_KEYS = ("extractor", "extractor_sha256", "n_generated", "n_reference", "reference", "resizer", "backend")
MEAN = "Mean ± sample standard deviation (ddof = 1) over the finished seeds; one seed has no deviation."
TIES = (
    "Bold: best of its block among methods that use no labels. ≈: tied with the best, the means lie within one pooled "
    "standard deviation, √(((n₁−1)s₁²+(n₂−1)s₂²)/(n₁+n₂−2)), which describes the spread and is no test: "
    "comparisons has those."
)


def build(suite: Suite) -> dict[str, Table]:
    """Every table of a suite by name.

    Raises:
        UserError: a column would mix two protocols.
    """
    protocols.check(suite)
    tables = [representation(suite), release(suite), few_labels(suite), generation(suite), generation_more(suite)]
    tables += [augmentation(suite), ablation(suite), *beyond.tables(suite, f"{MEAN} {TIES}")]
    return {table.name: table for table in tables}


def representation(suite: Suite) -> Table:
    """Probes with all labels: one row per configuration, one block per data set."""
    rows = _rows(suite, suite.ordered, PROBES)
    caption = f"Representation quality on frozen features, test split. {MEAN} {TIES}"
    notes = (*notes_of(suite, rows), *protocol_notes(suite, "probe", tuple(column.key for column in PROBES)))
    references = references_of(suite, PROBES)
    return Table("representation", "Representation", tuple(SECTIONS), PROBES, tuple(rows), caption, notes, references)


def release(suite: Suite) -> Table:
    """The numbers that the authors' release prints, under its protocol, to compare the paper's with."""
    rows = _rows(suite, suite.ordered, RELEASE)
    caption = (
        "As the authors' release measures, which is not how the other tables do: k-means is fitted and scored on the "
        "test split, and the linear probe is trained beside the encoder on augmented images. h: features; e: "
        "embeddings of a projection. —: not kept; the structural GAN's run alone keeps e and the discriminator in "
        f"training, and an online probe needs labels and at least one step. {MEAN} {TIES}"
    )
    notes = (*notes_of(suite, rows), *protocol_notes(suite, "probe", ("kmeans_release", "online_probe")))
    references = references_of(suite, RELEASE)
    return Table(
        "release", "As the release measures", tuple(SECTIONS), RELEASE, tuple(rows), caption, notes, references
    )


def few_labels(suite: Suite) -> Table:
    """Linear probes with a fraction of the training labels."""
    columns = tuple(Column(name, f"{label(name)}, top-1 %") for name in suite.few_labels)
    rows = _rows(suite, suite.ordered, columns)
    caption = f"Linear probes with few labels, frozen features, test split. {MEAN} {TIES}"
    notes = (*notes_of(suite, rows), *protocol_notes(suite, "probe", (*suite.few_labels, "few_labels")))
    return Table("few_labels", "Few labels", tuple(SECTIONS), columns, tuple(rows), caption, notes)


def generation(suite: Suite) -> Table:
    """FID and Inception Score; a method that cannot sample has a dash."""
    return _generation(suite, "generation", "Generation", GENERATION, ("extractor",))


def generation_more(suite: Suite) -> Table:
    """KID, precision and recall, with the whole protocol in the csv."""
    return _generation(suite, "generation_more", "Generation, more metrics", GENERATION_MORE, PROTOCOL_KEYS)


def _generation(suite: Suite, name: str, title: str, columns: tuple[Column, ...], extra: tuple[str, ...]) -> Table:
    found = protocols.by_dataset(suite)
    rows = [
        replace(row, extra={key: str(found.get(row.dataset, {}).get("fidelity", {}).get(key, "")) for key in extra})
        if suite.samples(row.keys["method"]) and row.done
        else replace(row, extra=dict.fromkeys(extra, ""))
        for row in _rows(suite, suite.ordered, columns)
    ]
    caption = f"Generated images against real ones. {MEAN} {TIES} —: the method cannot sample."
    notes = (*notes_of(suite, rows), *protocol_notes(suite, "fidelity", ("",)))
    references = references_of(suite, columns)
    return Table(name, title, tuple(SECTIONS), columns, tuple(rows), caption, notes, references, extra=extra)


def augmentation(suite: Suite) -> Table:
    """Linear probe by augmentation regime: a row per method and variant, with the difference to the contrast."""
    contrast = suite.contrast
    present = any(group.method == contrast for group in suite.groups)
    regimes = [key for key in suite.plan["augmentations"] if any(group.augmentation == key for group in suite.groups)]
    columns = tuple(Column(key, suite.title("augmentation", key)) for key in regimes)
    rows: list[Row] = []
    for dataset in dict.fromkeys(group.dataset for group in suite.ordered):
        block: list[Row] = []
        pairs = {(group.method, group.variant): None for group in suite.ordered if group.dataset == dataset}
        for method, variant in sorted(
            pairs, key=lambda pair: (rank(suite.plan, "method", pair[0]), rank(suite.plan, "variant", pair[1]))
        ):
            groups = {key: Group(dataset, method, key, variant) for key in regimes}
            cells = {key: _cell(suite, group, "linear") for key, group in groups.items()}
            row = _row(suite, Group(dataset, method, "", variant), cells)
            keys = {key: value for key, value in row.keys.items() if key != "augmentation"}
            block.append(replace(row, keys=keys))
        block = mark_best(block, columns)
        if present:
            block = _differences(block, columns, lambda row, block=block: _find(block, contrast))  # type: ignore[misc]
        rows += block
    words = suite.title("method", contrast)
    difference = f" In brackets: difference to {words} under the same regime, in points." if present else ""
    caption = f"Linear probe, top-1 %, by augmentation regime in order of strength. {MEAN} {TIES}{difference}"
    notes = (*notes_of(suite, rows), *protocol_notes(suite, "probe", ("linear",)))
    lead = ("dataset", "method", "variant")
    layout = ("mean", "std", "seeds", *((f"minus_{contrast}",) if present else ()))
    return Table(
        "augmentation", "Augmentation dependence", lead, columns, tuple(rows), caption, notes,
        seeds=False, layout=layout, delta=words if present else "",
    )  # fmt: skip


def ablation(suite: Suite) -> Table:
    """Variants side by side, with the difference to ``full``: the suite's own method, and any with two variants."""
    columns = (PROBES[0], PROBES[2], FID)
    families: dict[tuple[str, str, str], list[Group]] = {}
    for group in suite.ordered:
        families.setdefault((group.dataset, group.method, group.augmentation), []).append(group)
    several = {key for key, groups in families.items() if len(groups) > 1}
    has_several = {(dataset, method) for dataset, method, _ in several}
    rows: list[Row] = []
    for (dataset, method, regime), groups in families.items():
        alone = suite.method(method).get("kind") == "method" and (dataset, method) not in has_several
        if (dataset, method, regime) not in several and not alone:
            continue
        block = mark_best(_rows(suite, groups, columns, mark=False), columns)
        main = suite.main_variant(method)
        full = next((row for row in block if row.keys["variant"] == main), None)
        rows += _differences(block, columns, lambda row, full=full: full)  # type: ignore[misc]
    caption = (
        f"Variants of a method, all else equal. {MEAN} {TIES} In brackets: difference to the full variant "
        "(points for accuracies)."
    )
    notes = notes_of(suite, rows)
    return Table(
        "ablation", "Ablation", tuple(SECTIONS), columns, tuple(rows), caption, notes,
        layout=("mean", "std", "minus_full"), delta="full",
    )  # fmt: skip


def _rows(suite: Suite, groups: list[Group], columns: tuple[Column, ...], mark: bool = True) -> list[Row]:
    rows = [
        _row(suite, group, {column.key: _cell(suite, group, column.key) for column in columns})
        for group in groups
        if group in suite.groups
    ]
    if not mark:
        return rows
    datasets = dict.fromkeys(row.dataset for row in rows)
    return [row for name in datasets for row in mark_best([row for row in rows if row.dataset == name], columns)]


def _row(suite: Suite, group: Group, cells: dict[str, Cell]) -> Row:
    indices = suite.groups.get(group, [])
    generating = {"fid", "kid"} & set(cells) and not {"linear"} & set(cells) and suite.samples(group.method)
    states = suite.values(group, "fidelity" if generating else "probe")
    done = sum(state == "finished" or (suite.include_stale and state == "stale") for state in states)
    keys = dict(zip(SECTIONS, group, strict=True))
    words = {kind: suite.title(kind, key) for kind, key in keys.items()}
    method = suite.method(group.method)
    uses_labels = bool(method.get("uses_labels"))
    if uses_labels:
        words["method"] += " (uses labels)"
    return Row(keys, words, cells, done, len(indices), uses_labels, method.get("kind") == "reference")


def _cell(suite: Suite, group: Group, metric: str) -> Cell:
    if group in suite.not_applicable and group not in suite.groups:
        return Cell(state="not applicable", reason=suite.not_applicable[group])
    indices = suite.groups.get(group, [])
    if not indices:
        return Cell()
    generating = metric in ("fid", "is", "kid", "precision", "recall")
    if generating and not suite.samples(group.method):
        return Cell(planned=len(indices), state="no sample")
    statistic = summarise(suite.values(group, metric))
    state = "missing" if statistic is None else "value"
    if metric in RELEASE_PLACES and statistic is None and any(row in suite.probes for row in indices):
        state = "no sample"
    stale = suite.include_stale and "stale" in suite.values(group, "fidelity" if generating else "probe")
    loose = not generating and any(
        suite.probes.get(index, {}).get("metrics", {}).get(metric, {}).get("converged") is False for index in indices
    )
    return Cell(statistic, len(indices), state, stale=stale and statistic is not None, unconverged=loose)


def _find(block: list[Row], method: str) -> Row | None:
    return next((row for row in block if row.keys["method"] == method), None)


def _differences(block: list[Row], columns: tuple[Column, ...], other: Callable[[Row], Row | None]) -> list[Row]:
    """Each cell with its difference to the same column of the row that ``other`` names; none to itself."""
    changed: list[Row] = []
    for row in block:
        base, cells = other(row), dict(row.cells)
        for column in columns:
            one = row.cells[column.key].statistic
            two: Statistic | None = base.cells[column.key].statistic if base is not None else None
            if one and two and base is not None and base.keys != row.keys:
                cells[column.key] = replace(cells[column.key], delta=one.mean - two.mean, within=tied(one, two))
        changed.append(replace(row, cells=cells))
    return changed


def label(name: str) -> str:
    """Words for a probe's key: ``linear_10pct`` is a linear probe with 10 % of the labels."""
    if name.startswith("linear_") and name.endswith("pct"):
        return f"Linear probe, {name.removeprefix('linear_').removesuffix('pct')} % of the labels"
    return name.replace("_", " ")
