"""What version control compares from one commit to the next: a suite's headline numbers and its training curves."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Any

from structgan.files import read_json
from structgan.report.records import ACCURACIES, Suite

HEADLINE = (*ACCURACIES, "fid")
POINTS = 50
"""Records of a run in training.csv, evenly spread: the file lies in git."""


def headline(suite: Suite) -> dict[str, Any]:
    """Mean over the finished seeds: data set → method → augmentation → variant → metric → number.

    Accuracies are in [0, 1]; what has no number is left out.
    """
    found: dict[str, Any] = {}
    for group in suite.ordered:
        for name in HEADLINE:
            values = [value for value in suite.values(group, name) if not math.isnan(value)]
            if values:
                place = found
                for key in group:
                    place = place.setdefault(key, {})
                place[name] = float(f"{math.fsum(values) / len(values):.8g}")
    return found


def training(suite: Suite) -> str:
    """Every finished run's losses as csv in long form: dataset, run, step, loss, value."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("dataset", "run", "step", "loss", "value"))
    for group, rows in suite.groups.items():
        for row in rows:
            path = Path(suite.lists["folder"][row]) / "history.json"
            counted = suite.lists["probe"][row] == "finished" or (suite.include_stale and row in suite.probes)
            if not counted or not path.exists():
                continue
            run = "/".join((*group[1:], f"seed={suite.lists['seed'][row]}"))
            records = read_json(path).get("records", [])
            kept = records[:: -(-len(records) // POINTS)] if records else []
            for record in [*kept, *(records[-1:] if kept and kept[-1] is not records[-1] else [])]:
                for loss, value in record["losses"].items():
                    writer.writerow((group.dataset, run, record["step"], loss, f"{value:.6g}"))
    return text.getvalue()
