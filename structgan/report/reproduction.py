"""Whether a published number was reproduced: our mean against it, where our runs had what it was measured under."""

import functools
import itertools
import math
from collections.abc import Mapping
from typing import Any

from structgan import provenance
from structgan.report.cells import Cell, Heading, Row, Table, digits, figure, lead, naming, numbers, word
from structgan.report.metrics import DASH, MAIN, Metric, flat, shown, text
from structgan.report.results import Group, Suite
from structgan.report.statistics import Statistic

REPRODUCED, NOT_REPRODUCED, NOT_RUN, NO_REFERENCE = "reproduced", "not reproduced", "not run", "no reference"
ALWAYS = {"probe": "offline", "selection": "last"}
"""True of every number but the online probe's: probes read frozen features, of the last state of a training."""
EPOCHS_MATCH = 0.02
"""Epochs count images and may differ by this share: steps take whole batches, and the rest of an epoch is left out."""
UNITS = {"points": " points", "percent": " %", "absolute": ""}
HEADINGS = (
    *lead("dataset", "method"), Heading("metric", "Metric"), *lead("augmentation", "variant"),
    *numbers(seeds="Seeds", mean="Ours", reference="Published"), Heading("tolerance", "Tolerance"),
    Heading("verdict", "Verdict"), Heading("reason", "Reason", "long"), Heading("source", "Source", "long"),
)  # fmt: skip

Published = Mapping[str, Any]
"""A row of a file of published numbers: dataset, method, metric, value, source, ours, tolerance, requires."""


def judge(row: Published, metric: Metric, statistic: Statistic | None, facts: Mapping[str, Any]) -> tuple[str, str]:
    """The verdict on a published number, and its reason.

    ``statistic`` is ours, None while no run is finished; ``facts`` are those of ``facts_of``.
    """
    if row["value"] is None:
        return NO_REFERENCE, "the paper's number has not been entered"
    required = {key: value for key, value in row["requires"].items() if key != "settings"}
    required |= row["requires"].get("settings", {})
    unknown = [key for key, value in required.items() if value is None]
    known = [key for key in required if key in facts and key not in unknown]
    if differing := [key for key in known if not _equal(key, facts[key], required[key])]:
        words = ", ".join(f"{key} {text(facts[key])}, published with {text(required[key])}" for key in differing)
        return NO_REFERENCE, f"another protocol: {words}"
    if unknown:
        return NO_REFERENCE, f"not known of the published number: {', '.join(unknown)}"
    if statistic is None:
        return NOT_RUN, "no finished run"
    if absent := [key for key in required if key not in facts]:
        return NO_REFERENCE, f"not recorded by our runs: {', '.join(absent)}"
    difference = statistic.mean - row["value"]
    inside = abs(difference) <= allowance(row) * (1 + 1e-9)
    return REPRODUCED if inside else NOT_REPRODUCED, f"{shown(difference, metric, sign='+')} from the published number"


def allowance(row: Published) -> float:
    """A row's tolerance in the metric's stored unit; a point of accuracy is 0.01."""
    value, unit = float(row["tolerance"]["value"]), row["tolerance"]["unit"]
    return value / 100 if unit == "points" else value / 100 * row["value"] if unit == "percent" else value


def _equal(key: str, one: Any, two: Any) -> bool:
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in (one, two)):
        return math.isclose(one, two, rel_tol=EPOCHS_MATCH if key == "epochs" else 1e-9)
    return bool(one == two)


def facts_of(suite: Suite, group: Group, metric: Metric) -> dict[str, Any]:
    """What a configuration's runs had: training and settings by dotted key, and the protocol of the metric.

    Epochs are images seen over the images that methods learn from: the unlabelled ones of a data set that has some.
    """
    facts: dict[str, Any] = ALWAYS | ({"probe": "online"} if metric.name.startswith("online_probe") else {})
    if group not in suite.groups:
        return facts
    config = provenance.read_config(suite.root / suite.groups[group][0]["run"])
    settings = dict(flat(config["settings"]))
    facts |= settings | {"image_size": settings.get("dataset.image_size")}
    facts["batch_size"] = settings["training.batch_size"]
    measured = next(iter(suite.of(group, metric.evaluation)), {})
    if images := measured.get("dataset", {}).get("training_images"):
        facts["epochs"] = settings["training.steps"] * facts["batch_size"] / images
    protocol = measured.get("protocol", {})
    return {**protocol.get(metric.path.split(".")[0], protocol), **facts}


def table(suite: Suite) -> Table:
    """A row per data set, method and metric, or as many as there are published numbers that correspond to it."""
    paper, rows, judged = suite.plan.get("paper", []), list[Row](), False
    published = [row for row in (*paper, *suite.plan.get("references", [])) if "ours" in row]
    metrics = [metric for name, known in suite.metrics.items() if name != "training" for metric in known]
    asked = {(*group[:2], name) for group, runs in suite.groups.items() for run in runs for name in run["evaluations"]}
    for place, metric in itertools.product(dict.fromkeys(group[:2] for group in suite.groups), metrics):
        found = [row for row in published if (row["metric"], row["ours"]["method"]) == (metric.name, place[1])]
        own = [row for row in found if row["dataset"] == place[0]]
        rows += [_judged(suite, metric, row) for row in own]
        judged |= bool(own)
        if not own and (found or (metric.name in MAIN and (*place, metric.evaluation) in asked)):
            elsewhere = ", ".join(dict.fromkeys(str(row["dataset"]) for row in found))
            reason = f"the published number is of {elsewhere}" if found else "no published number corresponds to it"
            rows.append(_row(suite, metric, Group(place[0], place[1], "", ""), NO_REFERENCE, reason))
    null = sum(row["value"] is None for row in paper)
    notes = (f"{null} of the paper's numbers for these data sets have not been entered.",) if null else ()
    return Table(
        "reproduction", "Published numbers, reproduced or not", HEADINGS, rows, notes, "statistics",
        silent="" if judged else "no published number corresponds to a row of this suite",
    )  # fmt: skip


def source_of(row: Published) -> str:
    """Where a number was published, with its table where one is named."""
    return str(row["source"]) + (f", table {row['table']}" if row.get("table") else "")


def _judged(suite: Suite, metric: Metric, row: Published) -> Row:
    group, value, tolerance = Group(row["dataset"], **row["ours"]), row["value"], row["tolerance"]
    statistic, planned = suite.statistic(group, metric), len(suite.groups.get(group, []))
    verdict, reason = judge(row, metric, statistic, facts_of(suite, group, metric))
    if verdict == NOT_RUN and not planned:
        reason = "the suite does not plan this configuration"
    if statistic and statistic.n < planned:
        reason += f"; {statistic.n} of {planned} seeds are finished"
    form = functools.partial(shown, metric=metric)
    words = f"± {tolerance['value']:g}{UNITS[tolerance['unit']]}".replace(" 1 points", " 1 point")
    more = {
        "seeds": word(statistic.n if statistic else DASH, str(statistic.n) if statistic else ""),
        "mean": figure(statistic and statistic.mean, form, group),
        "reference": word(DASH, "") if value is None else word(form(value), digits(value)),
        "tolerance": word(words, None if value is None else digits(allowance(row))),
        "source": word(source_of(row)),
    }
    return _row(suite, metric, group, verdict, reason, **more)


def _row(suite: Suite, metric: Metric, group: Group, verdict: str, reason: str, **more: Cell) -> Row:
    cells = naming(suite, group) | dict.fromkeys(("seeds", "mean", "reference"), word(DASH, ""))
    cells |= {"tolerance": word(""), "source": word(""), "metric": word(metric.title, metric.name)}
    cells |= {"verdict": Cell(verdict, [verdict], verdict in (REPRODUCED, NOT_REPRODUCED)), "reason": word(reason)}
    return Row(suite.title("dataset", group.dataset), {**cells, **more}, group)
