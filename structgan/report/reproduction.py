"""Whether a published number was reproduced: our mean against it, where our runs had what it was measured under."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from structgan import provenance
from structgan.report.cells import Cell, Heading, Row, Table, digits, figure, lead, naming, word
from structgan.report.metrics import DASH, Metric, flat, shown, signed
from structgan.report.protocols import text
from structgan.report.statistics import Statistic, summarise
from structgan.report.suite import Group, Suite

REPRODUCED, NOT_REPRODUCED, NOT_RUN, NO_REFERENCE = "reproduced", "not reproduced", "not run", "no reference"
ALWAYS = {"probe": "offline", "selection": "last"}
"""True of every number but the online probe's: probes read frozen features, of the last state of a training."""
EPOCHS_MATCH = 0.02
"""Epochs count images and may differ by this share: steps take whole batches, and the rest of an epoch is left out."""
MAIN = ("linear", "svm", "kmeans", "knn", "fid", "is")
"""Metrics that get a row without any published number, too."""
UNITS = {"points": " points", "percent": " %", "absolute": ""}
HEADINGS = (
    *lead("dataset", "method"),
    Heading("metric", "Metric"),
    *lead("augmentation", "variant"),
    Heading("seeds", "Seeds", "number"),
    Heading("mean", "Ours", "number"),
    Heading("reference", "Published", "number"),
    Heading("tolerance", "Tolerance"),
    Heading("verdict", "Verdict"),
    Heading("reason", "Reason", "long"),
    Heading("source", "Source", "long"),
)
CAPTION = (
    "Reproduced: our mean is within the declared tolerance of a published number, on either side, and our runs had all "
    "that the number was measured under, as far as it is declared (epochs, batch, network, kind of probe, split, "
    "extractor, number of images). Not reproduced: they had all that, and our mean is outside. Not run: none of our "
    "finished runs corresponds to the number. No reference: there is no published number, or ours was measured under "
    "another protocol, so that there is no verdict; the reason says which. The paper's own numbers are null until a "
    "person enters them in workflow/config/paper.yaml."
)


def judge(
    row: Mapping[str, Any], metric: Metric, statistic: Statistic | None, facts: Mapping[str, Any]
) -> tuple[str, str]:
    """The verdict on one published number, and its reason.

    Args:
        row: of a file of published numbers, with ``value``, ``requires`` and ``tolerance``.
        metric: what it is a number of.
        statistic: ours; None while no run is finished.
        facts: what is known of our runs, see ``facts_of``.
    """
    if row["value"] is None:
        return NO_REFERENCE, "the paper's number has not been entered"
    required = dict(_flat(row["requires"]))
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
    difference, allowed = statistic.mean - row["value"], allowance(row)
    words = f"{signed(difference, metric)} from the published number"
    return (REPRODUCED if abs(difference) <= allowed * (1 + 1e-9) else NOT_REPRODUCED), words


def allowance(row: Mapping[str, Any]) -> float:
    """A row's tolerance in the metric's stored unit; a point of accuracy is 0.01."""
    value, unit = float(row["tolerance"]["value"]), row["tolerance"]["unit"]
    return value / 100 if unit == "points" else value / 100 * row["value"] if unit == "percent" else value


def _flat(requires: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in requires.items():
        yield from value.items() if key == "settings" else ((key, value),)


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
    facts |= settings | {
        "image_size": settings.get("dataset.image_size"),
        "batch_size": settings["training.batch_size"],
    }
    measured = next(iter(suite.of(group, metric.evaluation)), {})
    if images := measured.get("dataset", {}).get("training_images"):
        facts["epochs"] = settings["training.steps"] * facts["batch_size"] / images
    protocol = measured.get("protocol", {})
    return dict(protocol.get(metric.path.split(".")[0], protocol)) | facts


def table(suite: Suite) -> Table:
    """A row per data set, method and metric, or as many as there are published numbers that correspond to it."""
    published = [*suite.plan.get("paper", []), *suite.plan.get("references", [])]
    rows, judged = [], False
    for dataset, method in dict.fromkeys(group[:2] for group in suite.ordered if group in suite.groups):
        for metric in (metric for name, known in suite.metrics.items() if name != "training" for metric in known):
            found = [r for r in published if r["metric"] == metric.name and r.get("ours", {}).get("method") == method]
            own = [row for row in found if row["dataset"] == dataset]
            rows += [_judged(suite, metric, dataset, row) for row in own]
            judged |= bool(own)
            asked = any(
                suite.asked(group, metric.evaluation) for group in suite.groups if group[:2] == (dataset, method)
            )
            if not own and (found or (metric.name in MAIN and asked)):
                elsewhere = ", ".join(dict.fromkeys(str(row["dataset"]) for row in found))
                reason = f"the published number is of {elsewhere}" if found else "no published number corresponds to it"
                rows.append(_row(suite, metric, Group(dataset, method, "", ""), NO_REFERENCE, reason))
    null = sum(row["value"] is None for row in suite.plan.get("paper", []))
    notes = (f"{null} of the paper's numbers for these data sets have not been entered.",) if null else ()
    return Table(
        "reproduction", "Published numbers, reproduced or not", HEADINGS, rows, CAPTION, notes,
        section="statistics", silent="" if judged else "no published number corresponds to a row of this suite",
    )  # fmt: skip


def source_of(row: Mapping[str, Any]) -> str:
    """Where a number was published, with its table where one is named."""
    return str(row["source"]) + (f", table {row['table']}" if row.get("table") else "")


def _judged(suite: Suite, metric: Metric, dataset: str, row: Mapping[str, Any]) -> Row:
    group = Group(dataset, **row["ours"])
    statistic = summarise(suite.values(group, metric).values())
    verdict, reason = judge(row, metric, statistic, facts_of(suite, group, metric))
    planned = len(suite.groups.get(group, []))
    if verdict == NOT_RUN and not planned:
        reason = "the suite does not plan this configuration"
    if statistic is not None and statistic.n < planned:
        reason += f"; {statistic.n} of {planned} seeds are finished"
    allowed = "" if row["value"] is None else digits(allowance(row))
    words = f"± {row['tolerance']['value']:g}{UNITS[row['tolerance']['unit']]}".replace(" 1 points", " 1 point")
    more = {"tolerance": word(words, allowed or words), "source": word(source_of(row))}
    if statistic is not None:
        more["seeds"] = word(statistic.n)
        more["mean"] = figure(statistic.mean, shown(statistic.mean, metric), group)
    if row["value"] is not None:
        more["reference"] = word(shown(row["value"], metric), digits(row["value"]))
    return _row(suite, metric, group, verdict, reason, more)


def _row(suite: Suite, metric: Metric, group: Group, verdict: str, reason: str, more: Mapping[str, Cell] = {}) -> Row:
    cells = {
        **naming(suite, group),
        "metric": word(metric.title, metric.name),
        **dict.fromkeys(("seeds", "mean", "reference"), word(DASH, "")),
        **dict.fromkeys(("tolerance", "source"), Cell()),
        "verdict": Cell(verdict, [verdict], verdict in (REPRODUCED, NOT_REPRODUCED)),
        "reason": word(reason),
        **more,
    }
    return Row(suite.title("dataset", group.dataset), cells, group)
