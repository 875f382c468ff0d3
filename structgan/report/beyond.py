"""Tables of what frozen encoders give beyond the classification of their own data: dense predictions, and transfer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from structgan.identity.protocol import OPTIONAL
from structgan.report import protocols
from structgan.report.cells import DASH, Cell, Column, Row, Table, mark_best, summarise
from structgan.report.records import SECTIONS, Group, Suite, number

IMAGES = {"scenes": "Digit scenes", "voc": "Pascal VOC"}
SCORES = {"miou": "mIoU %", "map50": "AP at IoU 0.5 %", "map": "AP at IoU 0.5:0.95 %"}
PROBES = {"linear": "linear probe, top-1 %", "knn": "kNN, top-1 %"}
STATES = {"missing": "missing", "stale": "missing", "none": "not planned"}


def tables(suite: Suite, words: str) -> list[Table]:
    """The tables that the suite's evaluations ask for; ``words`` stand in every caption."""
    makers = {"dense": dense, "transfer": transfer}
    return [makers[kind](suite, words) for kind in OPTIONAL if kind in suite.plan["evaluation"]]


def asked(suite: Suite, row: int) -> list[str]:
    """The kinds of evaluation beyond probe and fidelity that the plan asks of a run."""
    return [kind for kind in OPTIONAL if suite.lists.get(kind, {row: "none"})[row] != "none"]


def dense(suite: Suite, words: str) -> Table:
    """Segmentation and detection by linear heads on frozen maps: a block of columns for each kind of images."""
    asked = suite.plan["protocol"]["dense"]["images"]
    columns = tuple(
        Column(f"{name}_{key}", f"{IMAGES[name]}, {what}") for name in asked for key, what in SCORES.items()
    )
    caption = (
        "Segmentation and detection by linear heads on the frozen encoder's feature maps, test split. mIoU: mean over "
        f"the classes, background among them; AP: mean over the classes, as COCO scores it. {words} {DASH}: no maps."
    )
    return _table(suite, "dense", "Segmentation and detection", columns, caption, tuple(_floors(suite)))


def transfer(suite: Suite, words: str) -> Table:
    """Probes of a frozen encoder on other data sets: the block is what it was trained on, the column where it goes."""
    targets = suite.plan["targets"]
    columns = tuple(
        Column(f"{name}_{probe}", f"{block['title']}, {what}")
        for name, block in targets.items()
        for probe, what in PROBES.items()
    )
    caption = (
        "Transfer of frozen encoders: probes fitted on the training split of another data set than the encoder was "
        f"trained on, scored on its test split. {words}"
    )
    return _table(suite, "transfer", "Transfer to other data sets", columns, caption, ())


def numbers(kind: str, result: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The columns of a run's dense.json or transfer.json, and their numbers."""
    for name, entry in result.get("metrics", {}).items():
        for key in SCORES if kind == "dense" else PROBES:
            yield f"{name}_{key}", number(entry, key) if kind == "dense" else number(entry, key, "top1")


def _table(
    suite: Suite, kind: str, title: str, columns: tuple[Column, ...], caption: str, more: tuple[str, ...]
) -> Table:
    groups = [group for group in suite.ordered if any(state != "none" for state in suite.values(group, kind))]
    rows: list[Row] = []
    for dataset in dict.fromkeys(group.dataset for group in groups):
        block = [_row(suite, kind, group, columns) for group in groups if group.dataset == dataset]
        rows += mark_best(block, columns)
    notes = (*_notes(suite, kind, groups), *more, *_protocols(suite, kind))
    return Table(kind, title, tuple(SECTIONS), columns, tuple(rows), caption, notes)


def _row(suite: Suite, kind: str, group: Group, columns: tuple[Column, ...]) -> Row:
    states = suite.values(group, kind)
    done = sum(state == "finished" or (suite.include_stale and state == "stale") for state in states)
    results = [suite.extras[kind][index] for index in suite.groups[group] if index in suite.extras[kind]]
    values = [dict(numbers(kind, result)) for result in results]
    reason = next((str(result["reason"]) for result in results if result.get("reason")), "")
    method = suite.method(group.method)
    cells = {}
    for column in columns:
        planned = _planned(suite, kind, group, column)
        statistic = summarise(entry[column.key] for entry in values if column.key in entry)
        state = "value" if statistic else "no sample" if reason else "missing" if planned else "not planned"
        stale = statistic is not None and suite.include_stale and "stale" in states
        loose = any(_unconverged(kind, result, column.key) for result in results)
        cells[column.key] = Cell(
            statistic, len(states) if planned else 0, state, reason=reason, stale=stale, unconverged=loose
        )
    keys = dict(zip(SECTIONS, group, strict=True))
    words = {name: suite.title(name, key) for name, key in keys.items()}
    labels = bool(method.get("uses_labels"))
    words["method"] += " (uses labels)" if labels else ""
    return Row(keys, words, cells, done, len(states), labels, method.get("kind") == "reference")


def _planned(suite: Suite, kind: str, group: Group, column: Column) -> bool:
    """Whether a column is of what the plan asks of a group: not every data set is transferred to every target."""
    if kind == "dense":
        return True
    return any(column.key == f"{name}_{probe}" for name in suite.plan["transfer"][group.dataset] for probe in PROBES)


def _unconverged(kind: str, result: Mapping[str, Any], column: str) -> bool:
    name, _, key = column.rpartition("_")
    entry = result.get("metrics", {}).get(name, {})
    fit = {"dense": {"miou": "segmentation_fit"}.get(key, "detection_fit"), "transfer": key}[kind]
    return entry.get(fit, {}).get("converged") is False


def _notes(suite: Suite, kind: str, groups: list[Group]) -> Iterator[str]:
    states = [state for group in groups for state in suite.values(group, kind)]
    if missing := sum(state in ("missing", *([] if suite.include_stale else ["stale"])) for state in states):
        yield f"Missing: {missing} of {len(states)} runs are not measured; seeds read done/planned."
    if stale := states.count("stale"):
        told = "marked †" if suite.include_stale else "left out"
        yield f"Stale: {stale} run(s) were measured under another configuration, protocol or source; {told}."
    reasons = {
        (suite.title("method", suite.lists["method"][row]), str(result["reason"])): None
        for row, result in suite.extras[kind].items()
        if result.get("reason")
    }
    for method, reason in reasons:
        yield f"{DASH}: {method}: {reason}."
    results = suite.extras[kind].values()
    columns = {name for result in results for name, _ in numbers(kind, result)}
    if any(_unconverged(kind, result, column) for result in results for column in columns):
        yield "‡: a head's solver stopped at its iteration limit in at least one run."
    if any(suite.method(group.method).get("uses_labels") for group in groups):
        yield "A row that uses labels is a reference: it is never marked best or tied."


def _floors(suite: Suite) -> Iterator[str]:
    """What a head that sees nothing reaches: the same for every run, as the protocol is."""
    for result in list(suite.extras["dense"].values())[:1]:
        for name, entry in result.get("metrics", {}).items():
            floor = number(entry, "miou_of_the_commonest_class")
            yield f"{IMAGES[name]}: predicting the commonest class everywhere has an mIoU of {100 * floor:.1f} %."


def _protocols(suite: Suite, kind: str) -> Iterator[str]:
    for dataset, found in protocols.by_dataset(suite).items():
        if text := protocols.sentence(found.get(kind, {})):
            yield f"Protocol, {suite.title('dataset', dataset)}: {text}."
