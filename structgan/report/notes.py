"""What stands below a table: the meaning of its marks, what is left out, its protocol, reference rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from structgan.report import protocols
from structgan.report.cells import Column, Reference, Row
from structgan.report.records import SECTIONS, Suite


def notes_of(suite: Suite, rows: list[Row]) -> tuple[str, ...]:
    """What the marks mean, where they occur, and what is left out."""
    cells = [cell for row in rows for cell in row.cells.values()]
    notes = []
    absent = suite.frame["probe"].isin(["missing", "stale"] if not suite.include_stale else ["missing"])
    if missing := int(absent.sum()):
        notes.append(f"Missing: {missing} of {len(suite.frame)} runs are not finished; seeds read done/planned.")
    stale = int(((suite.frame["probe"] == "stale") | (suite.frame["fidelity"] == "stale")).sum())
    if stale and suite.include_stale:
        notes.append(f"†: {stale} run(s) hold numbers of another configuration, protocol or source than today's plan.")
    elif stale:
        notes.append(
            f"Stale: {stale} run(s) belong to another configuration, protocol or source than today's plan; left out."
        )
    if any(cell.unconverged for cell in cells):
        notes.append("‡: a probe's solver stopped at its iteration limit in at least one run.")
    reasons: dict[tuple[str, ...], list[str]] = {}
    for group, reason in suite.not_applicable.items():
        words = [suite.title(kind, key) for kind, key in zip(SECTIONS, group, strict=True)]
        reasons.setdefault((words[0], words[1], words[3], reason), []).append(words[2])
    several = len(suite.plan["datasets"]) > 1
    for (dataset, method, variant, reason), regimes in reasons.items():
        head = f"{dataset}: " if several else ""
        notes.append(f"n/a: {head}{method} ({variant}), augmentation {', '.join(regimes)}: {reason}.")
    if any(row.uses_labels for row in rows):
        notes.append("A row that uses labels is a reference: it is never marked best or tied.")
    return tuple(notes)


def protocol_notes(suite: Suite, kind: str, prefixes: tuple[str, ...]) -> tuple[str, ...]:
    lines = []
    for dataset, found in protocols.by_dataset(suite).items():
        parts = [(prefix, protocols.sentence(found.get(kind, {}), prefix)) for prefix in prefixes]
        told = "; ".join(f"{prefix}: {text}" if prefix else text for prefix, text in parts if text)
        if told:
            lines.append(f"Protocol, {suite.title('dataset', dataset)}: {told}.")
    return tuple(lines)


def source_of(row: Mapping[str, Any]) -> str:
    """Where a published number stands, with its table where one is named."""
    return str(row["source"]) + (f", table {row['table']}" if row.get("table") else "")


def references_of(suite: Suite, columns: tuple[Column, ...]) -> tuple[Reference, ...]:
    """Published numbers of these columns, and those of the paper's own that a person has entered."""
    by_key = {column.key: column for column in columns}
    return tuple(
        Reference(
            suite.title("dataset", entry["dataset"]), str(entry["method"]), by_key[entry["metric"]].title,
            f"{entry['value'] * by_key[entry['metric']].scale:.{by_key[entry['metric']].digits}f}",
            str(entry.get("protocol", "")), source_of(entry),
        )
        for entry in (*suite.plan.get("paper", []), *suite.plan.get("references", []))
        if entry["metric"] in by_key and entry["value"] is not None
    )  # fmt: skip
