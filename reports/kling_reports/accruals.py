"""Accruals: the range of costs of jobs whose cost was not confirmed when a month ended.

A job is accrued while it is open, because it may fail or be charged, and while the provider has not
confirmed what it was charged. The roll-forward shows the result of each a month later.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC
from typing import Any, Final

import pandas as pd

from kling_ledger.ledger.engines.database import Database
from kling_ledger.ledger.reservations import CONFIRMED_BY
from kling_ledger.ledger.states import State
from kling_reports.doors import as_of
from kling_reports.query import Query
from kling_reports.report import UNIT, Column, Report, Table, typed, typed_totals

OPEN: Final = "open"
NOT_CONFIRMED: Final = "not confirmed"
CONFIRMED: Final = "confirmed"
ROLLED_BACK: Final = "rolled back"
NOT_KNOWN: Final = "not known"

_KIND: Final = Column("kind", "kind", "text", "open, or charged and not confirmed")
_RANGE: Final = (
    Column("expected_micro", "expected", "money", "what was charged, or is quoted", adds_up=True),
    Column("low_micro", "low", "money", "the least that it may come to; blank if unknown", True),
    Column("high_micro", "high", "money", "the most that was held for it by then", adds_up=True),
)
_OF_THE_JOB: Final = (
    Column(UNIT, "unit", "text"),
    Column("wallet", "wallet", "text"),
    Column("project", "project", "text"),
    Column("provider", "provider", "text"),
    Column("model", "model", "text"),
    Column("actor", "user", "text"),
)
_BY_KIND: Final = (
    _KIND,
    Column("provider", "provider", "text"),
    Column(UNIT, "unit", "text"),
    Column("jobs", "jobs", "integer", "how many", adds_up=True),
    *_RANGE,
)
_JOBS: Final = (
    Column("reservation_id", "reservation", "text"),
    Column("created_at", "reserved at", "instant"),
    _KIND,
    Column("settled_by", "rests on", "text", "who had settled its cost by then"),
    *_RANGE,
    *_OF_THE_JOB,
)
_OUTCOME: Final = Column("outcome", "became", "text", "its state when the month ended")
_OFF: Final = (
    Column("settled_micro", "settled", "money", "what it cost, if known by now", True),
    Column(
        "off_micro", "off by", "money", "settled less expected; above zero means it cost more", True
    ),
)
_BY_OUTCOME: Final = (
    _KIND,
    _OUTCOME,
    Column(UNIT, "unit", "text"),
    Column("jobs", "jobs", "integer", "how many", adds_up=True),
    _RANGE[0],
    *_OFF,
)
_ROLLED: Final = (
    Column("reservation_id", "reservation", "text"),
    _KIND,
    _OUTCOME,
    Column("settled_by", "rests on", "text", "who has settled its cost by now"),
    *_RANGE,
    *_OFF,
    *_OF_THE_JOB,
)
_GIVES_WAY: Final = (
    *("actor", "wallet", "model", "created_at", "project", "settled_by", "provider"),
    # The range is replaced by the result.
    *("high_micro", "low_micro", "kind"),
)


def report(database: Database, query: Query) -> Report:
    """Report what is accrued at a month's end, and the results of the previous month's accruals.

    The month is the query's; without one, the running month as it stands now.
    """
    month = query.period or f"{query.now.astimezone(UTC):%Y-%m}"
    known = query.filtered(accrued(as_of.unsettled(database, month)))
    rolled = query.filtered(rolled_forward(database, month))
    return replace(query, period=month).answer(
        "accruals",
        f"Accruals of {month}",
        question="What may open jobs still cost, and how accurate was the previous month?",
        tables=[_by_kind(known), listed(known), _by_outcome(rolled), roll_forward(rolled)],
        notes=[
            "By the journal up to the month's end, as a close seals it.",
            "An open job may fail and cost nothing; one that was charged costs its quote's low.",
            "Off by: the final cost less what the previous month accrued.",
        ],
    )


def accrued(jobs: pd.DataFrame) -> pd.DataFrame:
    """Add to jobs of as_of.unsettled their `kind` and the range of their possible cost."""
    is_open = jobs["held_micro"] != 0
    cost = jobs["charged_micro"] - jobs["refunded_micro"]
    # For an open job, what was already charged in part is certain.
    said = jobs["quoted_micro"].fillna(jobs["estimated_micro"]) - cost
    still = _at_least_nothing(_smaller(said, jobs["held_micro"]))
    expected = cost.mask(is_open, still)
    return jobs.assign(
        kind=pd.Series(NOT_CONFIRMED, jobs.index, "string").mask(is_open, OPEN),
        expected_micro=expected,
        low_micro=_smaller(jobs["low_micro"], expected).mask(is_open, 0),
        high_micro=_larger(jobs["most_micro"], expected).mask(is_open, jobs["held_micro"]),
    )


def rolled_forward(database: Database, month: str) -> pd.DataFrame:
    """Return the accruals of the previous month, and the result of each at the end of a month."""
    before = month_before(month)
    then = accrued(as_of.unsettled(database, before))
    now = as_of.unsettled(database, before, as_of=month)
    # Both have the same jobs in the same order.
    cost = now["charged_micro"] - now["refunded_micro"]
    paid_before = (then["charged_micro"] - then["refunded_micro"]).where(then["kind"] == OPEN, 0)
    outcome = _outcome(now)
    settled = (cost - paid_before).where(outcome.isin([CONFIRMED, ROLLED_BACK]))
    return then.assign(
        settled_by=now["settled_by"],
        outcome=outcome,
        settled_micro=settled,
        off_micro=settled - then["expected_micro"],
    )


def month_before(month: str) -> str:
    """Return the month before one, both such as `2026-10`."""
    year, number = int(month[:4]), int(month[5:])
    return f"{year - 1}-12" if number == 1 else f"{year}-{number - 1:02}"


def listed(known: pd.DataFrame) -> Table:
    """List the accruals one by one, with their ranges."""
    return _table("jobs", "Accrued jobs", _JOBS, known, known, "nothing is accrued")


def roll_forward(rolled: pd.DataFrame) -> Table:
    """List the results of the previous month's accruals, one by one."""
    empty = "the month before accrued nothing"
    return _table(
        "roll-forward-jobs", "Accruals of the month before", _ROLLED, rolled, rolled, empty
    )


def _by_kind(known: pd.DataFrame) -> Table:
    rows = _added(known, ["kind", "provider", UNIT], _BY_KIND)
    return _table("accruals", "Accruals", _BY_KIND, rows, known, "nothing is accrued")


def _by_outcome(rolled: pd.DataFrame) -> Table:
    rows = _added(rolled, ["kind", "outcome", UNIT], _BY_OUTCOME)
    empty = "the month before accrued nothing"
    return _table("roll-forward", "Roll-forward", _BY_OUTCOME, rows, rolled, empty)


def _table(
    name: str,
    title: str,
    columns: tuple[Column, ...],
    rows: pd.DataFrame,
    jobs: pd.DataFrame,
    empty: str,
) -> Table:
    return Table(
        name,
        title,
        columns,
        typed(rows.reset_index(drop=True), columns),
        totals=typed_totals(_added(jobs, [UNIT], columns), columns),
        empty=empty,
        gives_way=_GIVES_WAY,
    )


def _added(jobs: pd.DataFrame, words: list[str], columns: tuple[Column, ...]) -> pd.DataFrame:
    counted = jobs.assign(jobs=pd.Series(1, jobs.index, "Int64"))
    names = [column.name for column in columns if column.adds_up]
    grouped = counted.groupby(words, dropna=False, sort=True, as_index=False)[names]
    added = grouped.sum(min_count=1)
    if "low_micro" in names:
        # The smallest of several is unknown if the smallest of one is unknown.
        sizes = counted.assign(known=counted["low_micro"].notna().astype("Int64"))
        known = sizes.groupby(words, dropna=False, sort=True, as_index=False)[["known", "jobs"]]
        both = known.sum()
        added["low_micro"] = added["low_micro"].where(both["known"] == both["jobs"])
    return added


def _outcome(now: pd.DataFrame) -> pd.Series[Any]:
    """Return the state of jobs that were accrued the month before."""
    state = now["state"]
    is_charged = _is(state, str(State.COMMITTED))
    outcome = pd.Series(NOT_KNOWN, now.index, "string")
    outcome = outcome.mask(_is(state, str(State.ROLLED_BACK), str(State.EXPIRED)), ROLLED_BACK)
    outcome = outcome.mask(is_charged, NOT_CONFIRMED)
    outcome = outcome.mask(is_charged & _is(now["settled_by"], *CONFIRMED_BY), CONFIRMED)
    return outcome.mask(now["held_micro"] != 0, OPEN)


def _is(values: pd.Series[Any], *words: str) -> pd.Series[Any]:
    return values.isin(words).fillna(value=False).astype(bool)


def _smaller(one: pd.Series[Any], other: pd.Series[Any]) -> pd.Series[Any]:
    """Return the smaller of each pair; unknown values stay unknown."""
    return one.mask((one > other).fillna(value=False), other)


def _larger(one: pd.Series[Any], other: pd.Series[Any]) -> pd.Series[Any]:
    return one.mask((one < other).fillna(value=False), other)


def _at_least_nothing(amounts: pd.Series[Any]) -> pd.Series[Any]:
    return amounts.mask((amounts < 0).fillna(value=False), 0)
