"""The files of a suite for machines: every number, the headline numbers, and the training curves."""

from __future__ import annotations

from typing import Any

import pandas as pd

from structgan.report.statistics import summarise
from structgan.report.suite import Suite

HEADLINE = ("linear", "svm", "kmeans", "knn", "fid")
POINTS = 50
"""Records of a run in training.csv, evenly spread: the file is in git."""


def frame(suite: Suite) -> str:
    """results.csv: what ``results.load`` returns."""
    return str(suite.frame.to_csv(index=False, lineterminator="\n"))


def headline(suite: Suite) -> dict[str, Any]:
    """Mean over the finished seeds: data set → method → augmentation → variant → metric → number.

    Accuracies are in [0, 1]; what has no number is left out.
    """
    found: dict[str, Any] = {}
    for group in suite.ordered:
        for name in HEADLINE:
            if statistic := summarise(suite.values(group, suite.metric(name)).values()):
                place = found
                for key in group:
                    place = place.setdefault(key, {})
                place[name] = float(f"{statistic.mean:.8g}")
    return found


def training(suite: Suite) -> str:
    """Every finished run's losses as csv in long form: dataset, run, step, loss, value."""
    rows = []
    for group, runs in suite.groups.items():
        trained = [run for run in runs if (run["run"], "training") in suite.records]
        for run, records in zip(trained, suite.history(group), strict=True):
            kept = records[:: -(-len(records) // POINTS)] if records else []
            name = "/".join((*group[1:], f"seed={run['seed']}"))
            for record in [*kept, *(records[-1:] if kept and kept[-1] is not records[-1] else [])]:
                rows += [(group.dataset, name, record["step"], *loss) for loss in record["losses"].items()]
    columns = ["dataset", "run", "step", "loss", "value"]
    return str(pd.DataFrame(rows, columns=columns).to_csv(index=False, lineterminator="\n", float_format="%.6g"))
