"""How far the ledger's figures rest on what providers themselves said, and what was corrected.

The providers' records are those that `kling-ledger reconcile` stored when it last compared them; no
provider is contacted here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pandas as pd

from kling_ledger.ledger.engines.database import Database
from kling_ledger.ledger.states import OPEN_STATES, State
from kling_reports import groups
from kling_reports.doors import evidence, journal, reservations
from kling_reports.doors.reservations import BILLED
from kling_reports.long import filled, nothing
from kling_reports.moves import CORRECTING, into_wallets
from kling_reports.query import Query
from kling_reports.report import UNIT, Column, Report, Table, typed, typed_totals

_NOBODY: Final = "not known"
BASES: Final = (
    *(*BILLED, "measured", "quote", "person"),
    *(_NOBODY, "in doubt", "open", "failed"),
)
"""The basis of a job's cost: the provider's answer, its bill, the measured length of the result,
our quote if there is none of these, a person's figure, or an unknown source; an open job has none
yet; a failed one costs what it was charged."""

_ROWS: Final = (
    Column("provider", "provider", "text"),
    Column(UNIT, "unit", "text"),
    Column("basis", "rests on", "text", "who said what the jobs cost"),
    Column("jobs", "jobs", "integer", "how many", adds_up=True),
    Column("quoted_micro", "quoted", "money", "what the book said of those it prices", True),
    Column("spent_micro", "spent", "money", "committed less refunded", adds_up=True),
    Column("reserved_micro", "reserved", "money", "still set aside", adds_up=True),
)
_DOUBTS: Final = (
    Column("id", "reservation", "text"),
    Column("updated_at", "in doubt since", "instant"),
    Column("reserved_micro", "reserved", "money", adds_up=True),
    Column(UNIT, "unit", "text"),
    Column("provider", "provider", "text"),
    Column("model", "model", "text"),
    Column("task_id", "task", "text"),
    Column("problem", "why", "text"),
)
_CORRECTIONS: Final = (
    Column("created_at", "at", "instant"),
    Column("kind", "kind", "text"),
    Column("amount_micro", "amount", "money", "into the wallet, or out of it below zero", True),
    Column(UNIT, "unit", "text"),
    Column("wallet", "wallet", "text"),
    Column("provider", "provider", "text"),
    Column("reservation_id", "reservation", "text"),
    Column("period", "period", "text", "the month of the journal that it counts in"),
    Column("corrects", "corrects", "text", "the closed month that it corrects"),
    Column("actor", "user", "text"),
    Column("reason", "reason", "text"),
    Column("id", "transfer", "text"),
)
_VERDICTS: Final = (
    Column("provider", "provider", "text"),
    Column(UNIT, "unit", "text"),
    Column("verdict", "verdict", "text", "how our journal and the provider's record agreed"),
    Column("tasks", "tasks", "integer", "how many", adds_up=True),
    Column("billed_micro", "billed", "money", "what the provider's record says", adds_up=True),
    Column("spent_micro", "spent", "money", "what our journal says of them", adds_up=True),
)
_DIFFERENCES: Final = (
    Column("provider", "provider", "text"),
    Column("account", "account", "text"),
    Column("task_id", "task", "text"),
    Column("verdict", "verdict", "text"),
    Column("billed_micro", "billed", "money", adds_up=True),
    Column("spent_micro", "spent", "money", adds_up=True),
    Column("difference_micro", "difference", "money", "billed less spent, where both are known"),
    Column(UNIT, "unit", "text"),
    Column("reservation_id", "reservation", "text"),
    Column("source", "source", "text", "where the record was read"),
    Column("checked_at", "checked at", "instant"),
)
_COLUMNS: Final = (
    "provider",
    UNIT,
    "state",
    "settled_by",
    "quoted_micro",
    "held_micro",
    "committed_micro",
    "refunded_micro",
)


def report(database: Database, query: Query) -> Report:
    """Report what the figures rest on, what is in doubt, and what was corrected."""
    wanted = groups.sources((), query.filters)
    known = reservations.alike(database, columns=(*_COLUMNS, *wanted), span=query.span)
    doubts = reservations.listed(database, span=query.span, states=[State.IN_DOUBT])
    records = query.filtered_where_known(evidence.records(database))
    return query.answer(
        "reconciliation",
        "Reconciliation",
        question="What do our figures rest on, and what was corrected?",
        tables=[
            bases(query.filtered(known)),
            in_doubt(query.filtered(doubts)),
            corrections(database, query),
            compared(records),
            different(records),
        ],
        notes=[
            "Jobs by when their credits were reserved; corrections by when they were posted.",
            "Only costs that the provider or its bill stated are confirmed.",
            "Records of all times, as they were last compared: kling-ledger reconcile.",
        ],
    )


def bases(alike: pd.DataFrame) -> Table:
    """Sum jobs by provider, unit and the basis of their cost."""
    jobs = alike["jobs"]
    counted = pd.DataFrame(
        {
            "provider": alike["provider"],
            UNIT: alike[UNIT],
            "basis": pd.Categorical(_basis(alike), BASES, ordered=True),
            "jobs": jobs,
            "quoted_micro": jobs * alike["quoted_micro"],
            "spent_micro": jobs * (alike["committed_micro"].fillna(0) - alike["refunded_micro"]),
            "reserved_micro": jobs * alike["held_micro"],
        }
    )
    keys = ["provider", UNIT, "basis"]
    grouped = counted.groupby(keys, dropna=False, observed=True, sort=True, as_index=False)
    # Without a price in a book there is no quote: its sum is unknown.
    rows = grouped.sum(min_count=1)
    by_unit = counted.drop(columns=["provider", "basis"]).groupby(UNIT, as_index=False)
    totals = by_unit.sum(min_count=1)
    return _table("reconciliation", "What the figures rest on", _ROWS, rows, totals, "no jobs yet")


def in_doubt(doubts: pd.DataFrame) -> Table:
    """List the jobs with an unknown outcome."""
    listed = doubts.assign(reserved_micro=doubts["held_micro"])
    totals = listed.groupby(UNIT, as_index=False)[["reserved_micro"]].sum()
    return _table("in_doubt", "Jobs in doubt", _DOUBTS, listed, totals, "no job is in doubt")


def corrections(database: Database, query: Query) -> Table:
    """List what was posted outside the normal course, such as corrections and overruns."""

    def batches() -> Iterator[pd.DataFrame]:
        found = journal.transfer_batches(
            database,
            kinds=CORRECTING,
            span=query.span,
            period=query.period,
            size=query.batch,
        )
        kept = map(query.filtered_where_known, found)
        return (frame.assign(amount_micro=into_wallets(frame)) for frame in kept)

    counted = [frame[[UNIT, "amount_micro"]] for frame in batches()]
    moved = pd.concat(counted or [nothing(_CORRECTIONS)], ignore_index=True)
    totals = moved.groupby(UNIT, as_index=False)[["amount_micro"]].sum()
    table = _table(
        "corrections",
        "Corrections",
        _CORRECTIONS,
        nothing(_CORRECTIONS),
        totals,
        "nothing was corrected",
    )
    return filled(table, database, count=len(moved), size=query.batch, batches=batches)


def corrected(transfers: pd.DataFrame) -> Table:
    """List transfers that are all in memory, as `corrections` does."""
    listed = transfers.assign(amount_micro=into_wallets(transfers))
    totals = listed.groupby(UNIT, as_index=False)[["amount_micro"]].sum()
    return _table(
        "corrections", "Corrections", _CORRECTIONS, listed, totals, "nothing was corrected"
    )


def compared(records: pd.DataFrame) -> Table:
    """Sum tasks by how our journal and the provider's record agreed."""
    counted = records.assign(tasks=pd.Series(1, records.index, "Int64"))
    grouped = counted.groupby(["provider", UNIT, "verdict"], dropna=False, as_index=False)
    figures = ["tasks", "billed_micro", "spent_micro"]
    rows = grouped[figures].sum(min_count=1)
    totals = counted.groupby(UNIT, dropna=False, as_index=False)[figures].sum(min_count=1)
    return _table(
        "compared", "Beside providers' records", _VERDICTS, rows, totals, "nothing was compared yet"
    )


def different(records: pd.DataFrame) -> Table:
    """List the tasks for which our journal and the provider's record differ."""
    apart = records[(records["verdict"] != "matched").fillna(value=True)]
    listed = apart.assign(difference_micro=apart["billed_micro"] - apart["spent_micro"])
    amounts = ["billed_micro", "spent_micro"]
    totals = listed.groupby(UNIT, dropna=False, as_index=False)[amounts].sum(min_count=1)
    return _table(
        "differences", "Differences", _DIFFERENCES, listed, totals, "no differences are recorded"
    )


def _basis(alike: pd.DataFrame) -> pd.Series[Any]:
    state = alike["state"]
    # A cost corrected without a source has none: it is not the provider's.
    said = alike["settled_by"]
    basis = said.where(said.isin(BASES), _NOBODY).mask(state != str(State.COMMITTED), "failed")
    basis = basis.mask(state.isin([str(one) for one in OPEN_STATES]), "open")
    return basis.mask(state == str(State.IN_DOUBT), "in doubt")


def _table(
    name: str,
    title: str,
    columns: tuple[Column, ...],
    rows: pd.DataFrame,
    totals: pd.DataFrame,
    empty: str,
) -> Table:
    return Table(
        name,
        title,
        columns,
        typed(rows.reset_index(drop=True), columns),
        totals=typed_totals(totals, columns),
        empty=empty,
    )
