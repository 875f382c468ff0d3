"""Whether a published number was reproduced: our mean against it, where our runs had what it was measured under."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from structgan.files import read_json
from structgan.report import protocols, sheets
from structgan.report.cells import DASH, Column, Statistic, summarise
from structgan.report.layouts import GENERATION, PROBES, RELEASE
from structgan.report.markup import shown, signed
from structgan.report.notes import source_of
from structgan.report.records import Group, Suite

REPRODUCED, NOT_REPRODUCED, NOT_RUN, NO_REFERENCE = "reproduced", "not reproduced", "not run", "no reference"
ALWAYS = {"probe": "offline", "selection": "last"}
"""What holds for every number but the online probe's: probes read frozen features, of the last state of a training."""
EPOCHS_MATCH = 0.02
"""Epochs count images and are equal within this share: a step takes a whole batch, and an epoch's rest is left out."""
COLUMNS = {column.key: column for column in (*PROBES, *RELEASE, *GENERATION)}
UNITS = {"points": " points", "percent": " %", "absolute": ""}
ENTERED = "the paper's number has not been entered"
FIELDS = (
    sheets.Field("dataset", "Data set", place="block"),
    sheets.Field("method", "Method"),
    sheets.Field("metric", "Metric"),
    sheets.Field("augmentation", "Augmentation"),
    sheets.Field("variant", "Variant"),
    sheets.Field("seeds", "Seeds", "number"),
    sheets.Field("mean", "Ours", "number"),
    sheets.Field("reference", "Reference", "number"),
    sheets.Field("tolerance", "Tolerance"),
    sheets.Field("verdict", "Verdict"),
    sheets.Field("reason", "Reason", "long"),
    sheets.Field("source", "Source", "long"),
)
CAPTION = (
    "Reproduced: our mean lies within the declared tolerance of a published number, on either side, and our runs had "
    "all that the number was measured under, as far as it is declared (epochs, batch, network, kind of probe, split, "
    "extractor, number of images). Not reproduced: they had, and it does not. Not run: no finished run of ours "
    "corresponds to it. No reference: there is no number, or ours stands under another protocol, and then there is no "
    "verdict; the reason says which. The paper's own numbers are null until a person enters them in "
    "workflow/config/paper.yaml."
)


def judge(row: Mapping[str, Any], statistic: Statistic | None, facts: Mapping[str, Any]) -> tuple[str, str]:
    """The verdict on one published number, and its reason.

    Args:
        row: of a file of published numbers, with ``value``, ``metric``, ``requires`` and ``tolerance``.
        statistic: ours; None while no run is finished.
        facts: what is known of our runs, see ``facts_of``.
    """
    if row["value"] is None:
        return NO_REFERENCE, ENTERED
    required = dict(_flat(row["requires"]))
    unknown = [key for key, value in required.items() if value is None]
    known = [key for key in required if key in facts and key not in unknown]
    if differing := [key for key in known if not _equal(key, facts[key], required[key])]:
        told = ", ".join(f"{key} {_text(facts[key])}, the reference's {_text(required[key])}" for key in differing)
        return NO_REFERENCE, f"another protocol: {told}"
    if unknown:
        return NO_REFERENCE, f"not known of the reference: {', '.join(unknown)}"
    if statistic is None:
        return NOT_RUN, "no finished run"
    if absent := [key for key in required if key not in facts]:
        return NO_REFERENCE, f"not recorded by our runs: {', '.join(absent)}"
    column = COLUMNS[row["metric"]]
    difference, allowed = statistic.mean - row["value"], allowance(row)
    told = f"{signed(difference, column)} from the reference"
    return (REPRODUCED if abs(difference) <= allowed * (1 + 1e-9) else NOT_REPRODUCED), told


def allowance(row: Mapping[str, Any]) -> float:
    """A row's tolerance in the metric's stored unit; a point of accuracy is 0.01."""
    value, unit = float(row["tolerance"]["value"]), row["tolerance"]["unit"]
    return value / 100 if unit == "points" else value / 100 * row["value"] if unit == "percent" else value


def _flat(requires: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in requires.items():
        yield from value.items() if key == "settings" else ((key, value),)


def _equal(key: str, one: Any, two: Any) -> bool:
    numbers = [value for value in (one, two) if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) == 2:
        return math.isclose(one, two, rel_tol=EPOCHS_MATCH if key == "epochs" else 1e-9)
    return bool(one == two)


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def facts_of(suite: Suite, group: Group, metric: str) -> dict[str, Any]:
    """What a group's runs had: training and settings by dotted key, and the protocol of the metric.

    Epochs are images seen over the images that methods learn from: the unlabelled ones of a data set that has some.
    """
    facts: dict[str, Any] = ALWAYS | ({"probe": "online"} if metric.startswith("online_probe") else {})
    rows = suite.groups.get(group, [])
    if not rows:
        return facts
    file = Path(str(suite.lists["folder"][rows[0]])) / "config.json"
    config = read_json(file) if file.exists() else {}
    if config.get("identity") == suite.lists["identity"][rows[0]]:
        settings = dict(protocols.flat(config["settings"]))
        facts |= settings | {"image_size": settings.get("dataset.image_size")}
        facts["batch_size"], steps = settings["training.batch_size"], settings["training.steps"]
        probe = next((suite.probes[row] for row in rows if row in suite.probes), {})
        images = probe.get("dataset", {}).get("training_images")
        facts |= {"epochs": steps * facts["batch_size"] / images} if images else {}
    generating = metric in {column.key for column in GENERATION}
    results = suite.fidelities if generating else suite.probes
    measured = next((results[row] for row in rows if row in results), {}).get("protocol", {})
    return dict(measured if generating else measured.get(metric, {})) | facts


def build(suite: Suite) -> sheets.Sheet:
    """A line per data set, method and metric of the suite, or as many as there are numbers that correspond to it."""
    lines = []
    planned = [group for group in suite.ordered if group in suite.groups]
    for dataset, method in dict.fromkeys((group.dataset, group.method) for group in planned):
        for column in (*PROBES, *RELEASE, *(GENERATION if suite.samples(method) else ())):
            rows = _corresponding(suite, method, column.key)
            if column in RELEASE and not rows:
                continue
            own = [row for row in rows if row["dataset"] == dataset]
            lines += [_judged(suite, column, dataset, row) for row in own]
            if not own:
                elsewhere = ", ".join(dict.fromkeys(str(row["dataset"]) for row in rows))
                reason = f"the published number is of {elsewhere}" if rows else "no published number corresponds to it"
                lines.append(_line(suite, column, Group(dataset, method, "", ""), NO_REFERENCE, reason))
    null = sum(row["value"] is None for row in suite.plan.get("paper", []))
    notes = [f"{null} of the paper's numbers for these data sets have not been entered."] if null else []
    return sheets.Sheet("verdicts", "Verdicts on published numbers", FIELDS, tuple(lines), CAPTION, tuple(notes))


def _corresponding(suite: Suite, method: str, metric: str) -> list[Mapping[str, Any]]:
    """Published numbers of a metric that name a configuration of the method; the paper's own come first."""
    rows = [*suite.plan.get("paper", []), *suite.plan.get("references", [])]
    return [row for row in rows if row["metric"] == metric and row.get("ours", {}).get("method") == method]


def _judged(suite: Suite, column: Column, dataset: str, row: Mapping[str, Any]) -> sheets.Line:
    group = Group(dataset, **row["ours"])
    stale = "stale" in suite.values(group, "fidelity" if column in GENERATION else "probe")
    statistic = None if stale else summarise(suite.values(group, column.key))
    verdict, reason = judge(row, statistic, facts_of(suite, group, column.key))
    planned = len(suite.groups.get(group, []))
    if verdict == NOT_RUN and group not in suite.groups:
        reason = "the suite does not plan this configuration"
    elif verdict == NOT_RUN and stale:
        reason = "its numbers are of another configuration, protocol or source than today's plan"
    if statistic is not None and statistic.n < planned:
        reason += f"; {statistic.n} of {planned} seeds are finished"
    line = _line(suite, column, group, verdict, reason)
    words = f"± {row['tolerance']['value']:g}{UNITS[row['tolerance']['unit']]}".replace(" 1 points", " 1 point")
    more = {"tolerance": sheets.Entry(words), "source": sheets.Entry(source_of(row))}
    if statistic is not None:
        mean = sheets.number(statistic.mean, shown(statistic.mean, column))
        more |= {"seeds": sheets.Entry(str(statistic.n)), "mean": mean}
    if row["value"] is not None:
        more["tolerance"] = sheets.Entry(words, f"{allowance(row):.8g}")
        more["reference"] = sheets.Entry(shown(row["value"], column), f"{row['value']:.8g}", ours=False)
    return replace(line, entries=line.entries | more)


def _line(suite: Suite, column: Column, group: Group, verdict: str, reason: str) -> sheets.Line:
    """A line without numbers."""
    named = {kind: sheets.Entry(suite.title(kind, key), key) for kind, key in group._asdict().items()}
    none = sheets.Entry(DASH, "", ours=False)
    entries = {
        **named,
        "metric": sheets.Entry(column.title, column.key),
        "seeds": sheets.Entry(DASH, ""),
        "mean": none,
        "reference": none,
        "tolerance": sheets.Entry(),
        "verdict": sheets.Entry(verdict, strong=verdict in (REPRODUCED, NOT_REPRODUCED)),
        "reason": sheets.Entry(reason),
        "source": sheets.Entry(),
    }
    return sheets.Line(suite.title("dataset", group.dataset), entries, group)
