"""Failed jobs: what they would have cost, what was returned, and what was charged anyway."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import pandas as pd

from kling_ledger.ledger.engines.database import Database
from kling_ledger.ledger.states import State
from kling_pricing.charges import on_failure
from kling_pricing.library import at_hand
from kling_reports import groups, reconciliation
from kling_reports.doors import reservations
from kling_reports.groups import Group
from kling_reports.long import filled, nothing
from kling_reports.query import Query
from kling_reports.report import OF_A_JOB, UNIT, Column, Picture, Report, Table, typed, typed_totals

_FIGURES: Final = (
    Column("jobs", "failed", "integer", "jobs that ended with nothing made", adds_up=True),
    Column(
        "quoted_micro", "would have cost", "money", "what the book said of those it prices", True
    ),
    Column("reserved_micro", "held", "money", "what was set aside for them", adds_up=True),
    Column("charged_micro", "charged", "money", "what was charged in parts anyway", True),
    Column("returned_micro", "came back", "money", "what of the amount set aside returned", True),
)
_JOBS: Final = (
    Column("id", "reservation", "text"),
    Column("updated_at", "ended at", "instant"),
    Column("state", "state", "text"),
    Column("quoted_micro", "would have cost", "money", adds_up=True),
    Column("reserved_micro", "held", "money", adds_up=True),
    Column("charged_micro", "charged", "money", adds_up=True),
    Column("returned_micro", "came back", "money", adds_up=True),
    *OF_A_JOB,
    Column("problem", "why", "text"),
)
_CHARGED: Final = (
    Column("id", "reservation", "text"),
    Column("updated_at", "ended at", "instant"),
    Column("has_clip", "clip", "flag", "whether the provider named one"),
    Column("charged_micro", "charged", "money", "committed less refunded", adds_up=True),
    Column("settled_by", "rests on", "text", "who said what it cost"),
    *OF_A_JOB,
    Column("problem", "why", "text"),
)
_COUNTED: Final = ("quoted_micro", "reserved_micro", "committed_micro", "refunded_micro")
_READ: Final = (*reservations.read_for((*_JOBS, *_CHARGED)), *_COUNTED)
_ADDED: Final = (UNIT, "provider", *_COUNTED)
_AMOUNTS: Final = ("quoted_micro", "reserved_micro", "charged_micro", "returned_micro")
_FAILED: Final = (str(State.ROLLED_BACK), str(State.EXPIRED))
_GIVES_WAY: Final = ("task_id", "actor", "wallet", "model", "state", "project")


def report(database: Database, query: Query) -> Report:
    """Report what failed, by the query's groups."""
    wanted = (*_READ, *groups.sources(query.by, query.filters))
    failed = query.filtered(_with_amounts(_alike(database, query)))
    charged = reservations.troubled(database, columns=wanted, span=query.span)
    doubts = reservations.listed(database, span=query.span, states=[State.IN_DOUBT])
    return query.answer(
        "failures",
        "Failures",
        question="What failed, what would it have cost, and what came back?",
        tables=[
            failures(failed, query.by),
            _listed(database, query, failed),
            _listed_as_charged(_with_amounts(query.filtered(charged))),
            reconciliation.in_doubt(query.filtered(doubts)),
        ],
        notes=[
            "A failed job belongs to the time at which its credits were reserved.",
            "held = charged + came back.",
            "What was charged anyway counts as spent, and as a clip, in every other report.",
            *_charged_there(failed),
        ],
    )


def _alike(database: Database, query: Query) -> pd.DataFrame:
    """Return the failed jobs, grouped by what the groups, the filters and the sums need."""
    return reservations.alike(
        database,
        columns=(*_ADDED, *groups.sources(query.by, query.filters)),
        bucket=groups.finest(query.by),
        zone=query.zone,
        span=query.span,
        states=_FAILED,
    )


def _charged_there(failed: pd.DataFrame) -> Iterator[str]:
    """Say, for each provider with failures, whether it charges for them, according to its book."""
    library = at_hand()
    for provider in sorted(failed["provider"].dropna().unique()):
        if provider in library.providers:
            yield f"{on_failure(str(provider), library)}."


def failures(failed: pd.DataFrame, by: Sequence[Group]) -> Table:
    """Add failed reservations up by some groups and, always, by unit.

    A row of `failed` stands for `jobs` jobs that are equal in all columns.
    """
    named = {group.word: group.values(failed) for group in by}
    counted = pd.DataFrame({**named, **_sums(failed)})
    columns = (*(group.column for group in by), Column(UNIT, "unit", "text"), *_FIGURES)
    rows = counted.groupby([*named, UNIT], dropna=False, sort=True, as_index=False)
    totals = counted.drop(columns=list(named)).groupby(UNIT, sort=True, as_index=False)
    words = [group.word for group in by]
    return Table(
        "failures",
        "Failures",
        columns,
        # What a job without a price in any book would have cost is unknown.
        typed(rows.sum(min_count=1), columns),
        totals=typed_totals(totals.sum(min_count=1), columns),
        empty="nothing failed",
        gives_way=("reserved_micro", "charged_micro"),
        picture=Picture("bars", x=words[0], value="quoted_micro") if words else None,
    )


def _sums(failed: pd.DataFrame) -> pd.DataFrame:
    jobs = failed["jobs"]
    amounts = {name: jobs * failed[name] for name in _AMOUNTS}
    return pd.DataFrame({UNIT: failed[UNIT], "jobs": jobs, **amounts})


def _with_amounts(ended: pd.DataFrame) -> pd.DataFrame:
    charged = ended["committed_micro"].fillna(0) - ended["refunded_micro"]
    return ended.assign(
        charged_micro=charged,
        returned_micro=ended["reserved_micro"] - charged,
    )


def _listed(database: Database, query: Query, failed: pd.DataFrame) -> Table:
    """List failed jobs, oldest first; `failed` has the same ones, added up."""

    def batches() -> Iterator[pd.DataFrame]:
        found = reservations.listed_batches(
            database,
            columns=(*_READ, *groups.sources((), query.filters)),
            span=query.span,
            states=_FAILED,
            size=query.batch,
        )
        return (_with_amounts(query.filtered(frame)) for frame in found)

    by_unit = _sums(failed).groupby(UNIT, sort=True, as_index=False)[list(_AMOUNTS)]
    totals = by_unit.sum(min_count=1)
    table = Table(
        "jobs",
        "Failed jobs",
        _JOBS,
        nothing(_JOBS),
        totals=typed_totals(totals, _JOBS),
        empty="nothing failed",
        gives_way=_GIVES_WAY,
    )
    return filled(
        table, database, count=int(failed["jobs"].sum()), size=query.batch, batches=batches
    )


def _listed_as_charged(charged: pd.DataFrame) -> Table:
    totals = charged.groupby(UNIT, sort=True, as_index=False)[["charged_micro"]].sum()
    return Table(
        "charged",
        "Charged anyway",
        _CHARGED,
        typed(charged, _CHARGED),
        totals=typed_totals(totals, _CHARGED),
        empty="nothing was charged with a problem",
        gives_way=_GIVES_WAY,
    )
