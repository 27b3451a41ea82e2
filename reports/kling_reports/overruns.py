"""Overruns: the budgets report told for what is over its limit: since when, and no run-out."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pandas as pd

from kling_reports.merging import merged
from kling_reports.report import Column, Table, typed

OVER_SINCE: Final = Column(
    "over_since_at", "over since", "instant", "when today's limit was passed, if it was"
)
_AFTER: Final = "runs_out_at"


def told(budgets: Table, over: pd.DataFrame) -> Table:
    """Add to a table of budgets since when each is over its limit (see doors.over).

    What is over has no time at which it runs out: that is past. Nor has a limit of nothing.
    """
    frame = merged(budgets.frame, over, ["budget"], "left")
    frame[_AFTER] = frame[_AFTER].mask((frame["left_micro"] < 0) | (frame["limit_micro"] <= 0))
    place = [column.name for column in budgets.columns].index(_AFTER)
    columns = (*budgets.columns[:place], OVER_SINCE, *budgets.columns[place:])
    return replace(budgets, columns=columns, frame=typed(frame, columns))
