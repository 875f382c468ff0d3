"""Protocols of numbers: what must be equal before two numbers may stand in one column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from structgan.errors import UserError
from structgan.report.records import Suite

# Seconds are what a number cost, not what it means.
NO_PROTOCOL = frozenset({"seconds"})


def flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested mappings as (dotted key, value), sorted by key."""
    if isinstance(value, Mapping):
        for key in sorted(value):
            if key not in NO_PROTOCOL:
                yield from flat(value[key], f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value


def of_run(result: Mapping[str, Any]) -> dict[str, Any]:
    """The protocol of one metric file, with the content hash of its data."""
    content = {"content_hash": result.get("dataset", {}).get("content_hash")}
    return dict(flat({**result.get("protocol", {}), "dataset": content}))


def measured(suite: Suite) -> list[tuple[str, dict[int, dict[str, Any]]]]:
    """Each kind of evaluation and its results by row of the frame; those without numbers, for a reason, left out."""
    extras = {
        kind: {row: result for row, result in results.items() if not result.get("reason")}
        for kind, results in suite.extras.items()
    }
    return [("probe", suite.probes), ("fidelity", suite.fidelities), *extras.items()]


def check(suite: Suite) -> None:
    """Refuse numbers of one data set that were taken under two protocols.

    Data sets stand in blocks of their own, so that a protocol may differ between them (n, classes, an extractor that
    was trained on the data set): within a block everything must be equal.

    Raises:
        UserError: names the two runs, the key and its two values.
    """
    for kind, results in measured(suite):
        name = f"{kind}.json"
        first: dict[str, tuple[str, dict[str, Any]]] = {}
        for row, result in results.items():
            run, dataset = suite.lists["run"][row], suite.lists["dataset"][row]
            protocol = of_run(result)
            begun = first.setdefault(dataset, (run, protocol))
            _compare(name, begun, (run, protocol))
    _compare_data(suite)


def _compare(name: str, one: tuple[str, dict[str, Any]], two: tuple[str, dict[str, Any]]) -> None:
    for key in sorted({*one[1], *two[1]}):
        left, right = one[1].get(key), two[1].get(key)
        if left != right:
            raise UserError(
                f"{one[0]}/{name} and {two[0]}/{name}: protocols differ in '{key}' ({left!r} against {right!r}): "
                "a column never mixes two protocols, evaluate them again under one"
            )


def _compare_data(suite: Suite) -> None:
    """Probes and generation metrics of one data set must have seen the same bytes."""
    seen: dict[str, tuple[str, Any]] = {}
    for kind, results in measured(suite):
        name = f"{kind}.json"
        for row, result in results.items():
            content = result.get("dataset", {}).get("content_hash")
            if content is None:
                continue
            place = suite.lists["run"][row] + f"/{name}"
            other, expected = seen.setdefault(suite.lists["dataset"][row], (place, content))
            if content != expected:
                raise UserError(
                    f"{other} and {place}: 'dataset.content_hash' differs ({expected!r} against {content!r}): "
                    "a table never mixes two versions of a data set"
                )


def by_dataset(suite: Suite) -> dict[str, dict[str, dict[str, Any]]]:
    """The one protocol of each data set: ``{dataset: {"probe": {...}, "fidelity": {...}}}``, as flat keys."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for name, results in measured(suite):
        for row, result in results.items():
            entry = found.setdefault(suite.lists["dataset"][row], {})
            if name not in entry:
                entry[name] = of_run(result)
    return found


def sentence(protocol: Mapping[str, Any], prefix: str = "") -> str:
    """A protocol as words: ``split train→test, n_train 6000, …`` for the keys under ``prefix``."""
    head = f"{prefix}." if prefix else ""
    shown = [(key.removeprefix(head), value) for key, value in protocol.items() if key.startswith(head)]
    return ", ".join(f"{key} {_short(value)}" for key, value in shown if value is not None)


def _short(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    is_hash = len(text) == 64 and all(letter in "0123456789abcdef" for letter in text)
    return text[:12] + "…" if is_hash else text
