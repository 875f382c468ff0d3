"""The files of a suite for machines: every number, the headline numbers, and the training curves."""

from __future__ import annotations

from typing import Any

import pandas as pd

from structgan.report.statistics import summarize
from structgan.report.suite import Suite

HEADLINE = ("linear", "svm", "kmeans", "knn", "fid")
POINTS = 50
"""Records of a run in training.csv, evenly spread: the file is in git."""


def headline(suite: Suite) -> dict[str, Any]:
    """metrics.json: means over the finished seeds, by data set, method, augmentation, variant and metric."""
    found: dict[str, Any] = {}
    for group in suite.ordered:
        for name in HEADLINE:
            if statistic := summarize(suite.values(group, suite.metric(name)).values()):
                place = found
                for key in group:
                    place = place.setdefault(key, {})
                place[name] = float(f"{statistic.mean:.8g}")
    return found


def training(suite: Suite) -> str:
    """training.csv: every finished run's losses, one a row."""
    rows = []
    for group, runs in suite.groups.items():
        trained = [run for run in runs if (run["run"], "training") in suite.records]
        for run, history in zip(trained, suite.histories(group), strict=True):
            stride, last = max(1, -(-len(history) // POINTS)), len(history) - 1
            kept = history[[at % stride == 0 or at == last for at in range(len(history))]]
            name = "/".join((*group[1:], f"seed={run['seed']}"))
            long = kept.stack().dropna()
            rows += [(group.dataset, name, *key, value) for key, value in zip(long.index.tolist(), long, strict=True)]
    frame = pd.DataFrame(rows, columns=["dataset", "run", "step", "loss", "value"])
    return str(frame.to_csv(index=False, lineterminator="\n", float_format="%.6g"))
