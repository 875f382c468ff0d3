"""What stands beside the tables of means: how sure they are, what differs, what was reproduced, what it cost."""

from __future__ import annotations

from collections.abc import Mapping

from structgan.report import comparisons, costs, statistics, verdicts
from structgan.report.cells import Table
from structgan.report.records import Suite
from structgan.report.sheets import Sheet


def build(suite: Suite, tables: Mapping[str, Table]) -> dict[str, Sheet]:
    """Every sheet of a suite by name.

    Args:
        suite: as ``records.read`` gives it.
        tables: as ``layouts.build`` gives them, protocols checked.
    """
    sheets = [statistics.build(suite, tables), comparisons.build(suite), verdicts.build(suite), costs.build(suite)]
    return {sheet.name: sheet for sheet in sheets}
