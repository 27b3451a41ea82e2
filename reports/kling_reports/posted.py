"""What was posted: charged, refunded and net, by what it was for.

The statement, the close pack and `spend --basis posted` all call `added_up`, so a month cannot have
two different sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pandas as pd

from kling_reports.groups import Group
from kling_reports.report import UNIT, Column, Table, typed, typed_totals

FIGURES: Final = (
    Column("jobs", "jobs", "integer", "jobs that were charged or refunded in this time", True),
    Column("charged_micro", "charged", "money", "posted in this time", adds_up=True),
    Column("refunded_micro", "refunded", "money", "what came back in this time", adds_up=True),
    Column("net_micro", "net", "money", "charged less refunded", adds_up=True),
)


def added_up(sums: pd.DataFrame, by: Sequence[Group], *, name: str, title: str) -> Table:
    """Sum the rows of doors.posted by some groups and by unit: units never mix.

    A job counts once, at the first of its charges and refunds in the requested time, so the parts
    add up to the whole however they are grouped.
    """
    named = {group.word: group.values(sums) for group in by}
    figures = {
        "jobs": sums["jobs"],
        "charged_micro": sums["charged_micro"],
        "refunded_micro": sums["refunded_micro"],
        "net_micro": sums["charged_micro"] - sums["refunded_micro"],
    }
    counted = pd.DataFrame({**named, UNIT: sums[UNIT], **figures})
    columns = (*(group.column for group in by), Column(UNIT, "unit", "text"), *FIGURES)
    rows = counted.groupby([*named, UNIT], dropna=False, sort=True, as_index=False).sum()
    totals = counted.drop(columns=list(named)).groupby(UNIT, sort=True, as_index=False).sum()
    return Table(
        name,
        title,
        columns,
        typed(rows, columns),
        totals=typed_totals(totals, columns),
        empty="nothing was charged",
        gives_way=tuple(word for word in ("model", "jobs") if word in counted),
    )
