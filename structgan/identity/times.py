"""File times that say what identity says: each file that was verified is newer than all that it was made from.

DVC and git keep no times, and Snakemake has nothing else to go by in a fresh clone. A stale or damaged file gets a time
that is older than anything, so that it is planned again. Imports no torch.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

OLDEST = 86_400.0
"""Unix time in seconds, the second day of 1970: zero would mean "no time" to some file systems and tools."""
STEP = 2.0
"""Seconds between two rungs: the coarsest file time in use is 2 s."""


class Rung(IntEnum):
    """Places in the order of making: a file is made from files of lower rungs only.

    Where runs depend on runs, all from ``RUN`` on lies higher by the number of runs that come before.
    """

    SETTINGS = 0
    DATA = 1
    EXTRACTOR = 2
    RUN = 3
    METRIC = 4
    TABLE = 5
    PAGE = 6


class Finding(NamedTuple):
    """One file, its place, and what is wrong with it: one clause, or None.

    The clause is empty where the fault lies with another file, which tells it.
    """

    path: Path
    rung: int
    problem: str | None


def stamp(findings: Iterable[Finding], now: float | None = None) -> None:
    """Set the times of the files that exist: sound ones by rung and in the past, all others to ``OLDEST``.

    Settings that are not sound keep their time: planning writes them again, which makes them newer than all else.

    Args:
        findings: files with their verdicts.
        now: Unix time in seconds at which the highest rung would lie; this moment by default.
    """
    found = list(findings)
    top, highest = (time.time() if now is None else now) - STEP, max(max(Rung), *(finding.rung for finding in found))
    for finding in found:
        if finding.path.exists() and (finding.problem is None or finding.rung != Rung.SETTINGS):
            when = top - STEP * (highest - finding.rung) if finding.problem is None else OLDEST
            os.utime(finding.path, (when, when))
