"""The learning curves of a suite's runs: accuracy while they trained, by steps, images, operations and seconds.

Example:
    >>> frame = load("demo")
    >>> frame.pivot_table(index="gflops", columns=["method", "augmentation"], values="top1")
"""

from pathlib import Path

import pandas as pd

from structgan import provenance
from structgan.files import read_json
from structgan.report import results
from structgan.report.results import SECTIONS, Suite, group_of

COLUMNS = [*SECTIONS, "seed", "step", "images", "gflops", "seconds", "top1", "run"]


def load(suite: str | Path | Suite) -> pd.DataFrame:
    """Every probe that was made while a suite's finished runs trained.

    Args:
        suite: a plan's file, or a suite's name, which means its newest plan in results/plans/<suite>/.

    Returns:
        A row for each probe, by run and then by step:

        - dataset, method, augmentation, variant, seed: what was trained.
        - step, images: updates, and images seen in them, until then.
        - gflops: operations of the training until then, in 1e9, of all processes.
        - seconds: of training until then, without the probes.
        - top1: of the linear probe on test images, in [0, 1]; ``training.curve`` says of how many.
        - run: the first digits of the run's identity, which its folder is named after.

        Runs that are missing or damaged, or were not trained, have none.

    Raises:
        UserError: there is no such plan, or the numbers of a data set have two protocols.
    """
    read, rows = results.read(suite), []
    for run in read.runs:
        if env := read.records.get((run["run"], "training")):
            history = read_json(provenance.read_companion(read.root / run["run"], env, "history.json"))
            for point, seconds in zip(history.get("curve", []), env.get("curve_seconds", []), strict=True):
                step = point["step"]
                spent = step, point["images"], step * env["gflops_per_step"], seconds
                mark = run["identity"][: provenance.ID]
                rows.append((*group_of(run), int(run["seed"]), *spent, point["top1"], mark))
    frame = pd.DataFrame(rows, columns=COLUMNS)
    return frame.astype({"gflops": float, "seconds": float, "top1": float})
