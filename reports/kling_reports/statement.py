"""What went into and out of each wallet: from the opening balance to the closing one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import pandas as pd

from kling_ledger.ledger.engines.database import Database
from kling_reports import groups
from kling_reports.doors import journal, posted
from kling_reports.groups import Filter, read_groups
from kling_reports.long import filled, nothing
from kling_reports.moves import FIGURES, MOVES, into_reserved, into_wallets
from kling_reports.posted import added_up
from kling_reports.query import Query
from kling_reports.report import EVER, UNIT, Column, Report, Span, Table, typed, typed_totals

_SUMMARY: Final = (
    Column("wallet", "wallet", "text"),
    Column(UNIT, "unit", "text"),
    Column(
        "opening_micro", "opening", "money", "the balance at the start of the period", adds_up=True
    ),
    Column("funded_micro", "funded", "money", "what was bought or allowed", adds_up=True),
    Column("spent_micro", "spent", "money", "charges of jobs: below zero", adds_up=True),
    Column("refunded_micro", "refunded", "money", "refunds of charges", adds_up=True),
    Column("adjusted_micro", "adjusted", "money", "corrections, up and down", adds_up=True),
    Column(
        "closing_micro", "closing", "money", "the balance at the end of the period", adds_up=True
    ),
    Column("reserved_micro", "reserved", "money", "of that, reserved for open jobs", adds_up=True),
)
_LINES: Final = (
    Column("wallet", "wallet", "text"),
    Column("created_at", "at", "instant"),
    Column("period", "period", "text", "the month of the journal that it counts in"),
    Column("kind", "kind", "text", "the kind of transfer"),
    Column("amount_micro", "amount", "money", "into the wallet, or out of it below zero", True),
    Column("balance_micro", "balance", "money", "what the wallet held after it"),
    Column(UNIT, "unit", "text"),
    Column("project", "project", "text"),
    Column("provider", "provider", "text"),
    Column("model", "model", "text"),
    Column("reservation_id", "reservation", "text"),
    Column("corrects", "corrects", "text", "the closed month that it corrects"),
    Column("actor", "user", "text"),
    Column("reason", "reason", "text"),
    Column("id", "transfer", "text"),
)
_CHARGED_FOR: Final = read_groups(("project", "provider", "model"))
_GIVES_WAY: Final = (
    "id",
    "reason",
    "corrects",
    "model",
    "reservation_id",
    "period",
    "provider",
    "project",
    "actor",
)


def report(database: Database, query: Query) -> Report:
    """Report how each wallet went from its opening to its closing balance."""
    movements = query.filtered(journal.movements(database, span=query.span, period=query.period))
    summary = statement(movements)
    spent_on = charges(database, span=query.span, period=query.period, filters=query.filters)
    return query.answer(
        "statement",
        "Statement",
        question="What went into each wallet and out of it?",
        tables=[summary, spent_on, lines(database, query, movements, summary.frame)],
        notes=[
            "opening + funded + spent + refunded + adjusted = closing; spent is negative.",
            "Reserved credits are still in the wallet: reserved shows how many.",
        ],
    )


def statement(movements: pd.DataFrame) -> Table:
    """Sum movements (see journal.movements) to one row per wallet."""
    figures = pd.DataFrame(
        {
            "wallet": movements["wallet"],
            UNIT: movements[UNIT],
            "opening_micro": _posted(movements).where(movements["before"], 0),
            **{f"{name}_micro": _figure(movements, name) for name in FIGURES},
            "closing_micro": _posted(movements),
            "reserved_micro": into_reserved(movements).fillna(0),
        }
    )
    rows = figures.groupby(["wallet", UNIT], sort=True, as_index=False).sum()
    totals = rows.drop(columns="wallet").groupby(UNIT, sort=True, as_index=False).sum()
    return Table(
        "statement",
        "Statement",
        _SUMMARY,
        typed(rows, _SUMMARY),
        totals=typed_totals(totals, _SUMMARY),
        empty="no wallets yet",
        gives_way=("reserved_micro",),
    )


def charges(
    database: Database,
    *,
    span: Span = EVER,
    period: str | None = None,
    filters: Sequence[Filter] = (),
) -> Table:
    """Sum what jobs were charged and refunded, by purpose: what left the wallets."""
    sums = posted.posted(
        database, by=groups.sources(_CHARGED_FOR, filters), span=span, period=period
    )
    return added_up(
        groups.filtered(sums, filters), _CHARGED_FOR, name="charges", title="What it was spent on"
    )


def lines(
    database: Database, query: Query, movements: pd.DataFrame, summary: pd.DataFrame
) -> Table:
    """List the transfers that moved a wallet's balance, wallet by wallet, with the new balances.

    `movements` and `summary` cover the same wallets and the same time.
    """
    within = movements[movements["kind"].isin(MOVES) & ~movements["before"].fillna(value=True)]
    moved = within.assign(amount_micro=into_wallets(within))
    opening = summary.set_index("wallet")["opening_micro"]

    def batches() -> Iterator[pd.DataFrame]:
        found = journal.transfer_batches(
            database,
            kinds=MOVES,
            span=query.span,
            period=query.period,
            by_wallet=True,
            size=query.batch,
        )
        return _balanced(map(query.filtered, found), opening)

    count = int(within["transfers"].sum())
    return filled(_lines(moved), database, count=count, size=query.batch, batches=batches)


def entries(transfers: pd.DataFrame, summary: pd.DataFrame) -> Table:
    """List, like `lines`, the transfers that moved balances, all of them in memory."""
    by_wallet = transfers.sort_values("wallet", kind="stable")
    opening = summary.set_index("wallet")["opening_micro"]
    (listed,) = _balanced([by_wallet], opening)
    return replace(_lines(listed), frame=typed(listed.reset_index(drop=True), _LINES))


def _balanced(batches: Iterable[pd.DataFrame], opening: pd.Series[Any]) -> Iterator[pd.DataFrame]:
    """Yield lines, wallet by wallet, with each one's movement and the wallet's balance after it."""
    held = opening.copy()
    for transfers in batches:
        listed = transfers.assign(amount_micro=into_wallets(transfers))
        moved = listed.groupby("wallet")["amount_micro"].cumsum()
        listed["balance_micro"] = listed["wallet"].map(held).astype("Int64") + moved
        # The next batch may continue with the last wallet of this one.
        held.update(listed.groupby("wallet")["balance_micro"].last())
        yield listed


def _lines(moved: pd.DataFrame) -> Table:
    """Return the table of lines without its rows, with their totals."""
    totals = moved[[UNIT, "amount_micro"]].groupby(UNIT, sort=True, as_index=False).sum()
    return Table(
        "lines",
        "Lines",
        _LINES,
        nothing(_LINES),
        totals=typed_totals(totals, _LINES),
        empty="nothing moved",
        gives_way=_GIVES_WAY,
    )


def _posted(movements: pd.DataFrame) -> pd.Series[int]:
    # A wallet without any movement has one row, in which the kind is missing.
    return into_wallets(movements).fillna(0)


def _figure(movements: pd.DataFrame, figure: str) -> pd.Series[int]:
    kinds = [kind for kind, (name, _) in MOVES.items() if name == figure]
    within = movements["kind"].isin(kinds) & ~movements["before"].fillna(value=True)
    return _posted(movements).where(within, 0)
