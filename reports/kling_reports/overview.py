"""All that a month's reader asks, in one report: spend, prices, budgets, variance, open credits."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from kling_ledger.ledger.engines.database import Database
from kling_reports import budgets, spend, variance
from kling_reports import open as open_credits
from kling_reports.groups import read_groups
from kling_reports.query import Query
from kling_reports.report import Picture, Report, Table

_SERIES: Final = "provider"
_NOTE: Final = (
    "Budgets stand as they are now, whatever the period and the conditions; budgets and variance"
    " stay in their own units."
)


def report(database: Database, query: Query) -> Report:
    """Answer with the main tables of several questions; the query's groups stack the spending."""
    series = query.by or read_groups([_SERIES])
    by = tuple(dict.fromkeys((*read_groups(["month"]), *series)))
    by_month = spend.report(database, replace(query, by=by))
    by_provider = spend.report(database, replace(query, by=read_groups(["provider"])))
    others = [
        budgets.report(database, replace(query, filters=())),
        variance.report(database, replace(query, by=read_groups(["provider"]))),
        open_credits.report(database, query),
    ]
    parts = [by_month, *others]
    return query.answer(
        "overview",
        "Overview",
        question="What was spent, does it fit the budgets and the quotes, and what is still open?",
        tables=[
            replace(by_month.main, title="Spend by month"),
            _per_second(by_provider.main),
            *(part.main for part in others),
        ],
        notes=[_NOTE, *dict.fromkeys(note for part in parts for note in part.notes)],
    )


def _per_second(by_provider: Table) -> Table:
    return replace(
        by_provider,
        name="per_second",
        title="Cost per second by provider",
        picture=Picture("bars", x="provider", value="per_second_micro"),
    )
