"""Which credits are still reserved, for how long, and what to do about them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import pandas as pd

from kling_ledger.ledger.engines.database import Database
from kling_ledger.ledger.states import OPEN_STATES, State
from kling_pricing.money import USD
from kling_reports import groups
from kling_reports.doors import reservations
from kling_reports.long import filled, nothing
from kling_reports.query import Query
from kling_reports.report import (
    OF_A_JOB,
    UNIT,
    Column,
    Picture,
    Report,
    Table,
    typed,
    typed_totals,
)

AGES: Final = (
    ("0-1 h", 3_600),
    ("1-24 h", 86_400),
    ("1-7 d", 604_800),
    ("over 7 d", None),
)
"""The ages that open credits are sorted into, and the seconds at which each ends, exclusive."""

_TO_DO: Final = {
    State.RESERVED: "nothing was sent: run it, or kling-ledger reservation rollback ID",
    State.SUBMITTING: "it may have been sent: kling-ledger resume ID",
    State.SUBMITTED: "the provider has it: kling-ledger resume ID asks for its end",
    State.IN_DOUBT: "check with the provider, then kling-ledger resume ID, or reservation commit "
    "or rollback with a reason",
}
_OF_A_SCRIPT: Final = (
    "its script must end it, or you: kling-ledger reservation commit or rollback ID with a reason"
)
"""What to do about a job that `resume` leaves alone: a script sent it, and alone knows how."""
_ROWS: Final = (
    Column("age", "age", "text", "since the credits were reserved"),
    Column(UNIT, "unit", "text"),
    Column("jobs", "jobs", "integer", "open reservations", adds_up=True),
    Column("in_doubt", "in doubt", "integer", "of these, the outcome is unknown", adds_up=True),
    Column("reserved_micro", "reserved", "money", "still set aside", adds_up=True),
)
_JOBS: Final = (
    Column("id", "reservation", "text"),
    Column("created_at", "reserved at", "instant"),
    Column("age", "age", "text"),
    Column("age_seconds", "open for", "seconds"),
    Column("state", "state", "text"),
    Column("reserved_micro", "reserved", "money", "still set aside", adds_up=True),
    *OF_A_JOB,
    Column("expires_at", "expires at", "instant"),
    Column("problem", "why", "text", "what is in doubt about it"),
    Column("to_do", "what to do", "text"),
)
_COUNTED: Final = ("created_at", "state", UNIT, "held_micro", "usd_held_micro")
_READ: Final = (*reservations.read_for(_JOBS), "held_micro", "usd_held_micro", "can_resume")
_GIVES_WAY: Final = (
    "age",
    "expires_at",
    "task_id",
    "model",
    "actor",
    "wallet",
    "created_at",
    "provider",
    "problem",
    "project",
)


def report(database: Database, query: Query) -> Report:
    """Report what is still reserved, by age."""
    # The sums need all rows, but few columns; single rows are read only when they are written.
    known = reservations.listed(
        database, columns=_wanted(query, _COUNTED), span=query.span, states=OPEN_STATES
    )
    counted = _aged(query.filtered(known), query)
    return query.answer(
        "open",
        "Open credits",
        question="Which credits are still reserved, for how long, and what to do about it?",
        tables=[by_age(counted), still_open(database, query, counted)],
        notes=["An age counts from the reservation to the time of this report."],
    )


def _wanted(query: Query, columns: Sequence[str]) -> tuple[str, ...]:
    return (*columns, *groups.sources((), query.filters))


def still_open(database: Database, query: Query, counted: pd.DataFrame) -> Table:
    """List open reservations, oldest first, each with its age and what to do about it.

    `counted` has the same ones, with few columns.
    """

    def batches() -> Iterator[pd.DataFrame]:
        found = reservations.listed_batches(
            database,
            columns=_wanted(query, _READ),
            span=query.span,
            states=OPEN_STATES,
            size=query.batch,
        )
        for frame in map(query.filtered, found):
            yield _aged(frame, query).assign(to_do=_to_do(frame))

    totals = counted.groupby(UNIT, sort=True, as_index=False)[["reserved_micro"]].sum()
    table = Table(
        "jobs",
        "Open jobs",
        _JOBS,
        nothing(_JOBS),
        totals=typed_totals(totals, _JOBS),
        empty="no credits are reserved",
        gives_way=_GIVES_WAY,
    )
    return filled(table, database, count=len(counted), size=query.batch, batches=batches)


def _aged(found: pd.DataFrame, query: Query) -> pd.DataFrame:
    """Add to open jobs their age, and what they hold in the requested currency."""
    age = (query.now - found["created_at"]).dt.total_seconds() // 1
    listed = found.assign(
        age_seconds=age.astype("Int64"), age=_named(age), reserved_micro=found["held_micro"]
    )
    if query.currency == USD:
        known = listed["usd_held_micro"].notna()
        listed["reserved_micro"] = listed["usd_held_micro"].fillna(listed["held_micro"])
        listed[UNIT] = listed[UNIT].mask(known, query.currency)
    return listed


def by_age(jobs: pd.DataFrame) -> Table:
    """Sum open jobs by age and unit; every age has a row in every unit."""
    counted = pd.DataFrame(
        {
            "age": pd.Categorical(jobs["age"], [name for name, _ in AGES], ordered=True),
            UNIT: jobs[UNIT],
            "jobs": pd.Series(1, jobs.index, "Int64"),
            "in_doubt": (jobs["state"] == str(State.IN_DOUBT)).astype("Int64"),
            "reserved_micro": jobs["reserved_micro"],
        }
    )
    rows = counted.groupby(["age", UNIT], observed=False, sort=True, as_index=False).sum()
    totals = counted.drop(columns="age").groupby(UNIT, sort=True, as_index=False).sum()
    return Table(
        "open",
        "Open credits by age",
        _ROWS,
        typed(rows.sort_values([UNIT, "age"], ignore_index=True), _ROWS),
        totals=typed_totals(totals, _ROWS),
        empty="no credits are reserved",
        picture=Picture("bars", x="age", value="reserved_micro"),
    )


def _named(age: pd.Series[Any]) -> pd.Series[Any]:
    names = pd.Series(AGES[-1][0], age.index, "string")
    for name, ends in reversed(AGES[:-1]):
        names = names.mask(age < ends, name)
    return names


def _to_do(found: pd.DataFrame) -> pd.Series[Any]:
    jobs = zip(found["state"], found["can_resume"], found["id"], strict=True)
    said = [
        _advice(State(state), can_resume).replace("ID", name) for state, can_resume, name in jobs
    ]
    return pd.Series(said, found.index, "string")


def _advice(state: State, can_resume: bool) -> str:  # noqa: FBT001 - a column of flags
    return _TO_DO[state] if can_resume or state is State.RESERVED else _OF_A_SCRIPT
