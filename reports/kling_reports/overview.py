"""The page that a finance director keeps open: what to know first, and everything behind it.

It covers two spans, and every title says which: the history is the whole requested time; the period
is the requested one, or the running month, beside the one before it. Amounts are in USD at each
job's own rate unless another currency is requested; amounts without a rate stay in their own unit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import pandas as pd

from kling_ledger.ledger.engines.database import Database
from kling_pricing.counting import counted
from kling_reports import budgets, days, spend, variance
from kling_reports import open as open_credits
from kling_reports.before import Pair, pair
from kling_reports.comparison import added, comparison
from kling_reports.doors import reservations
from kling_reports.findings import limits, spending, trust
from kling_reports.findings.finding import Finding
from kling_reports.groups import read_groups, sources
from kling_reports.listing import MOST_JOBS, basis, by_model, findings, latest, models_of_projects
from kling_reports.query import Query
from kling_reports.report import Picture, Report, Span, Table
from kling_reports.tops import top

_SERIES: Final = "provider"
_TOPS: Final = (
    ("project", "project", "Projects"),
    ("actor", "user", "People"),
    ("model", "model", "Models"),
    ("provider", "provider", "Providers"),
)
"""For each table of largest spenders: the column of a reservation, its word for people, and the
title."""

DETAILS: Final = ("daily", "project_models", "days", "jobs")
"""The tables for looking things up, which a terminal leaves out."""

_NOTES: Final = (
    "Budgets stand as they are now, whatever the period and the conditions.",
    "Budgets and variance stay in their own units.",
    "Findings follow written rules: docs/reference/findings.md has each with its threshold.",
)


def report(database: Database, query: Query) -> Report:
    """Report findings in words, the period beside the one before, and what is behind them."""
    query = replace(query, currency=query.currency or "USD")
    asked = _Asked(database, query, pair(query.span, now=query.now, zone=query.zone))
    history = list(_history(asked))
    tables = [history[0], *_of_the_period(asked), *history[1:]]
    found = findings(_found(asked, {table.name: table for table in tables}), tables)
    return query.answer(
        "overview",
        "Overview",
        question="What was spent, does it fit the budgets and the quotes, and what is still open?",
        tables=[tables[0], found, *tables[1:]],
        notes=[*_NOTES, *dict.fromkeys(_told(asked))],
    )


@dataclass(frozen=True)
class _Asked:
    """The question with its two periods, and what the ledger says about them, each read once."""

    database: Database
    query: Query
    pair: Pair

    def spending(self, span: Span, *by: str, bucket: str | None = None) -> pd.DataFrame:
        """Return what was spent in a span, by some columns of a reservation."""
        query = self.query
        found = reservations.spending(
            self.database,
            by=tuple(dict.fromkeys((*by, *sources((), query.filters)))),
            bucket=bucket,
            zone=query.zone,
            span=span,
            conversion=query.conversion,
        )
        return query.filtered(found)

    @cached_property
    def this(self) -> pd.DataFrame:
        """The period, by everything that the tables of largest spenders need."""
        return self.spending(self.pair.this, *(source for source, _, _ in _TOPS), "settled_by")

    @cached_property
    def that(self) -> pd.DataFrame | None:
        """The same part of the period before; None if the ledger does not cover it."""
        found = self.spending(self.pair.before, *(source for source, _, _ in _TOPS))
        return found if self._is_known_whole else None

    @cached_property
    def by_day(self) -> pd.DataFrame:
        """The period by day, project and user."""
        return self.spending(self.pair.this, "project", "actor", bucket="day")

    @cached_property
    def earlier_by_day(self) -> pd.DataFrame:
        """The whole period before by day, project and user."""
        return self.spending(self.pair.whole_before, "project", "actor", bucket="day")

    @property
    def _is_known_whole(self) -> bool:
        """Whether the ledger began before the previous period, or on its first day."""
        earlier = Span(None, self.pair.before.starts_at)
        # Reading one day is faster than reading everything before it.
        return any(
            not reservations.spending(self.database, span=span).empty
            for span in (self.pair.first_day, earlier)
        )

    @cached_property
    def parts(self) -> dict[str, Report]:
        """The reports of other questions that are parts of this one."""
        query = self.query
        by_provider = replace(query, by=read_groups(["provider"]))
        return {
            "budgets": budgets.report(self.database, replace(query, filters=())),
            "variance": variance.report(self.database, replace(by_provider, currency=None)),
            "open": open_credits.report(self.database, query),
        }


def _history(asked: _Asked) -> Iterator[Table]:
    """Yield the parts about the whole requested time, spending by month first, and jobs."""
    query, parts = asked.query, asked.parts
    series = query.by or read_groups([_SERIES])
    by = tuple(dict.fromkeys((*read_groups(["month"]), *series)))
    by_month = spend.report(asked.database, replace(query, by=by)).main
    yield replace(by_month, title="Spend by month")
    yield _in_percent(parts["variance"].main)
    yield parts["open"].main
    yield latest(asked.database, query, asked.pair.this, asked.by_day)


def _of_the_period(asked: _Asked) -> Iterator[Table]:
    """Yield the parts about the period only, and the budgets as they are now."""
    name, this, that = asked.pair.name, asked.this, asked.that
    table = comparison(this, that)
    yield replace(table, title=f"{name}, beside {asked.pair.name_before}")
    yield _daily(asked)
    yield asked.parts["budgets"].main
    for source, word, title in _TOPS:
        yield top(this, that, source, word=word, title=f"{title}: {name}")
    yield basis(this, f"What the costs rest on: {name}")
    yield by_model(this, f"Cost per second and failures: {name}")
    yield models_of_projects(this, f"Models of each project: {name}")
    yield replace(days.by_project(_judged(asked)), title=f"Days by project and user: {name}")


def _daily(asked: _Asked) -> Table:
    pair, zone = asked.pair, asked.query.zone
    own = days.calendar(pair.whole.starts_at, pair.whole.ends_at, zone)
    earlier = days.calendar(pair.whole_before.starts_at, pair.whole_before.ends_at, zone)
    back = (own[0] - earlier[0]).days
    table = days.daily(asked.by_day, asked.earlier_by_day, own, back)
    beside = pair.name_before.removeprefix("the same days of ")
    return replace(table, title=f"Day by day: {pair.name}, beside {beside}")


def _judged(asked: _Asked) -> pd.DataFrame:
    """Return the days of the period by project and user, each with its usual cost."""
    words = ["day", "project", "actor"]
    own, earlier = added(asked.by_day, words), added(asked.earlier_by_day, words)
    both = spending.with_usual(pd.concat([own, earlier], ignore_index=True))
    return both.head(len(own))


def _found(asked: _Asked, tables: dict[str, Table]) -> Iterator[Finding]:
    """Apply every rule."""
    pair, query, this = asked.pair, asked.query, asked.this
    open_jobs = asked.parts["open"].table("jobs")
    yield from limits.over(tables["budgets"].frame, query.zone)
    yield from limits.runs_out(tables["budgets"].frame, now=query.now, zone=query.zone)
    yield from spending.changed(tables["comparison"].frame, pair.name, pair.name_before)
    yield from spending.unusual_days(_judged(asked))
    yield from spending.takes_most(_named(this, "project", "project"), "project", "projects")
    yield from spending.takes_most(_named(this, "actor", "user"), "user", "users")
    yield from trust.failing(added(this, ["provider", "model"]))
    yield from trust.open_long(open_jobs.frame, is_all=len(open_jobs.frame) == open_jobs.count)
    yield from trust.unconfirmed(added(this, ["settled_by"]))
    yield from trust.quoted_wrong(tables["variance"].frame)


def _named(this: pd.DataFrame, source: str, word: str) -> pd.DataFrame:
    return added(this, [source]).rename(columns={source: word})


def _told(asked: _Asked) -> Iterator[str]:
    """Yield the notes of the parts, and what a reader should know about the two periods."""
    pair = asked.pair
    if pair.is_running:
        yield f"{pair.name} is not over, and is compared with {pair.name_before} alone."
    if asked.that is None:
        yield f"The ledger does not cover all of {pair.name_before}: nothing is compared with it."
    without = int(asked.this.loc[asked.this["unit"] != asked.query.currency, "jobs"].sum())
    if without:
        of_them = counted(without, "job of the period has", "jobs of the period have")
        yield f"{of_them} no known rate: amounts stay in their own unit."
    if int(asked.this["jobs"].sum()) > MOST_JOBS:
        yield f"The latest {MOST_JOBS} jobs are listed: kling-ledger reservation list has all."
    for part in asked.parts.values():
        yield from part.notes


def _in_percent(variance: Table) -> Table:
    """Draw the errors of the quotes on one scale, whatever their unit."""
    names = [column.name for column in variance.columns]
    if "variance_share_ppm" not in names:
        return variance
    picture = Picture("bars", x="provider", value="variance_share_ppm")
    return replace(variance, title="Variance by provider", picture=picture)
