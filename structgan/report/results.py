"""The results of a suite as one table: every number that its plan asks for, one a row.

Example:
    >>> frame = load("demo")
    >>> frame[frame.metric == "linear"].groupby(["method", "augmentation"]).value.mean()
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from structgan import plan
from structgan.report.suite import Suite


def load(suite: str | Path) -> pd.DataFrame:
    """Every number of a suite.

    Args:
        suite: a plan's file, or a suite's name, which means its newest plan in results/plans/<suite>/.

    Returns:
        A frame with the same columns for every suite:

        - dataset, method, augmentation, variant, seed: what was trained.
        - evaluation, metric: what was measured, as the evaluation's ``COLUMNS`` name it. The evaluation "training" is
          the training itself: its seconds, images per second, memory and parameters.
        - value: the number as it is stored, NaN while it is missing. unit: "fraction" for accuracies, "s", "MiB" or "".
        - state: "finished" or "missing".
        - protocol: the first digits of the identity of the evaluation's protocol; for "training", of the machine.
        - run: the first digits of the run's identity, which its folder is named after.

        A finished evaluation has no row for a number that it cannot give, such as the FID of a method without images.

    Raises:
        UserError: there is no such plan, a file is damaged, or the numbers of a data set have two protocols.
    """
    return read(suite).frame


def read(suite: str | Path) -> Suite:
    """A suite's plan and results; arguments and errors as in ``load``."""
    return Suite(Path(suite) if str(suite).endswith(".json") else plan.newest(str(suite)))
