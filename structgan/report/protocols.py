"""Protocols: what must be equal before two numbers are compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from structgan.errors import UserError
from structgan.report.metrics import flat

MACHINE = ("device", "threads", "processes")
HARDWARE = ("cpu", "cores", "gpu", "gpus")


def by_dataset(
    runs: Iterable[Mapping[str, Any]], records: Mapping[tuple[str, str], Mapping[str, Any]]
) -> dict[str, dict[str, dict[str, Any]]]:
    """The one protocol of each data set and evaluation, by dotted keys: ``{dataset: {"probe": {...}, …}}``.

    A protocol may differ between data sets (classes, an extractor that was trained on the data set): tables show them
    in blocks.

    Args:
        runs: the runs of a plan.
        records: what their evaluations wrote, by the run's path and the evaluation's name.

    Raises:
        UserError: two numbers of a data set have two protocols, or are from two versions of the data. It names the two
            results, the key and its two values.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    first: dict[tuple[str, str], tuple[str, dict[str, Any]]] = {}
    for run in runs:
        for name, file in run["evaluations"].items():
            record = records.get((run["run"], name))
            if record is None or record.get("reason"):  # it has no numbers
                continue
            data = {"content_hash": record.get("dataset", {}).get("content_hash")}
            mine, place = dict(flat({**record.get("protocol", {}), "dataset": data})), f"{run['run']}/{file}"
            found.setdefault(run["dataset"], {}).setdefault(name, mine)
            for kind, now in ((name, mine), ("data", {"dataset.content_hash": data["content_hash"]})):
                other, theirs = first.setdefault((run["dataset"], kind), (place, now))
                for key in sorted(key for key in {*theirs, *now} if theirs.get(key) != now.get(key)):
                    raise UserError(
                        f"{other} and {place}: protocols differ in '{key}' ({theirs.get(key)!r} against "
                        f"{now.get(key)!r}): a column never mixes two protocols, evaluate them again under one"
                    )
    return found


def sentence(protocol: Mapping[str, Any], prefix: str = "") -> str:
    """The keys under a prefix in words: ``split train→test, n_train 6000, …``."""
    head = f"{prefix}." if prefix else ""
    found = {key.removeprefix(head): value for key, value in protocol.items() if key.startswith(head)}
    return ", ".join(f"{key} {text(value)}" for key, value in found.items() if value is not None)


def text(value: Any) -> str:
    """A value in words; of a hash its first digits."""
    words = f"{value:g}" if isinstance(value, float) else str(value)
    return words[:12] + "…" if len(words) == 64 and set(words) <= set("0123456789abcdef") else words


def machine(environment: Mapping[str, Any]) -> str:
    """What must be equal before two times are compared, in words; a run on several machines is a machine of its own."""
    entries = [entry for entry in environment.get("submissions", []) if entry.get("steps") and "hardware" in entry]
    return " + ".join(dict.fromkeys(map(_machine, entries or [environment])))


def _machine(entry: Mapping[str, Any]) -> str:
    parts = {key: entry.get("hardware", {}).get(key) for key in HARDWARE} | {key: entry.get(key) for key in MACHINE}
    parts["torch"] = entry.get("versions", {}).get("torch")
    return ", ".join(f"{key} {value}" for key, value in parts.items() if value not in (None, 0))
