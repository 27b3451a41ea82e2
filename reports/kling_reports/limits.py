"""Who changed which limit: every change of every budget, with time, reason, old and new value."""

from __future__ import annotations

from typing import Final

import pandas as pd

from kling_ledger.ledger.engines.database import Database
from kling_reports.doors.limits import changes
from kling_reports.query import Query
from kling_reports.report import Column, Report, Span, Table, typed

_COLUMNS: Final = (
    Column("at", "at", "instant"),
    Column("budget", "budget", "text"),
    Column("field", "field", "text", "which field changed; for a new budget, each one"),
    Column("from", "from", "text", "blank where there was nothing"),
    Column("to", "to", "text", "blank where nothing is left of it"),
    Column("actor", "user", "text", "who changed it, by the name that the ledger was given"),
    Column("reason", "reason", "text"),
    Column("period", "period", "text", "the month that it counts in, under whose seal it is"),
    Column("removed", "removed", "flag", "whether the budget was removed"),
)
_NOTES: Final = (
    "A raise and a removal go from the limit that was in force, with its raises, to the one after.",
    "A raise ends by itself, so its end has no line.",
)


def report(database: Database, query: Query) -> Report:
    """Report who changed the limits, including those of removed budgets."""
    found = query.filtered(_within(changes(database), query.span))
    return query.answer(
        "limits",
        "Changes of limits",
        question="Who changed which limit, when, why, and from what to what?",
        tables=[limits(found)],
        notes=_NOTES,
    )


def limits(found: pd.DataFrame) -> Table:
    """List changes of budgets (see doors.limits.changes) in their order."""
    return Table(
        "limits",
        "Changes of limits",
        _COLUMNS,
        typed(found.reset_index(drop=True), _COLUMNS),
        empty="no limit was set or changed",
        gives_way=("removed", "period", "reason"),
    )


def _within(found: pd.DataFrame, span: Span) -> pd.DataFrame:
    if span.starts_at is not None:
        found = found[found["at"] >= span.starts_at]
    return found if span.ends_at is None else found[found["at"] < span.ends_at]
