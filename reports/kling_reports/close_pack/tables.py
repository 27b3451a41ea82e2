"""The tables of a close pack: of a month's own transfers, and of jobs only what never changes."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd

from kling_ledger.ledger.engines.database import Database
from kling_ledger.ledger.states import State
from kling_reports import reconciliation, statement, variance
from kling_reports.doors import journal, months, posted
from kling_reports.groups import Group, read_groups
from kling_reports.moves import CHARGING, CORRECTING, MOVES, into_reserved
from kling_reports.posted import added_up
from kling_reports.report import UNIT, Column, Table, typed

_SEALED: Final = ("clips", "quoted_micro", "committed_micro", "variance_micro")
"""The figures of the variance that rest on what never changes after the close: the others ask who
said what a clip cost, which a bill may say later."""

_ACCRUALS: Final = (
    Column("reservation_id", "reservation", "text"),
    Column("created_at", "reserved at", "instant"),
    Column("amount_micro", "amount", "money", "what it held when the month ended", adds_up=True),
    Column(UNIT, "unit", "text"),
    Column("wallet", "wallet", "text"),
    Column("project", "project", "text"),
    Column("provider", "provider", "text"),
    Column("model", "model", "text"),
    Column("actor", "user", "text"),
)


def tables(database: Database, month: str, lines: pd.DataFrame) -> dict[str, Table]:
    """Return a month's tables by the names of their files; `lines` is its journal."""
    ordered = lines.sort_values(["created_at", "id"])
    moved = ordered[ordered["kind"].isin(list(MOVES))].reset_index(drop=True)
    corrections = ordered[ordered["kind"].isin(CORRECTING)].reset_index(drop=True)
    touched = journal.lines(database, through=month, touched_in=month)
    summary = statement.statement(movements(database, month))
    return {
        "statement": summary,
        "statement-lines": statement.entries(moved, summary.frame),
        "spend": statement.charges(database, period=month),
        "variance": variance_of(touched, month),
        "reconciliation": by_provider(database, month),
        "corrections": reconciliation.corrected(corrections),
        "accruals": accrued(months.accruals(database, month)),
    }


def movements(database: Database, month: str) -> pd.DataFrame:
    """Return what moved in wallets through a month, see journal.movements.

    Without the wallets that did not yet hold anything: those made later are not of this month.
    """
    found = journal.movements(database, period=month)
    return found[found["kind"].notna()].reset_index(drop=True)


def variance_of(touched: pd.DataFrame, month: str) -> Table:
    """Compare what was quoted and charged for the clips whose charging ended in a month.

    `touched` is the history up to the month (see journal.lines) of the jobs that it touched.
    """
    charged = touched["amount_micro"].where(touched["kind"].isin(CHARGING) & ~_undone(touched), 0)
    held = into_reserved(touched)
    is_before = touched["period"] < month
    figures = {
        "committed_micro": charged,
        "held": held,
        "charged_before": charged.where(is_before, 0),
        "held_before": held.where(is_before, 0),
    }
    words = ["provider", "model", UNIT, "quoted_micro"]
    lines = pd.DataFrame({"id": touched["reservation_id"], **touched[words], **figures})
    jobs = lines[lines["id"].notna()].groupby(["id", *words], dropna=False, as_index=False).sum()
    # A refund or an overrun touches a job again that a month before has compared already.
    was_over = (jobs["held_before"] == 0) & (jobs["charged_before"] > 0)
    ended = jobs[(jobs["held"] == 0) & (jobs["committed_micro"] > 0) & ~was_over]
    compared = variance.variance(_as_committed(ended), read_groups(("provider", "model")))
    return _with(compared, (*words[:3], *_SEALED))


def by_provider(database: Database, month: str) -> Table:
    """Add up what each provider was paid and gave back in the month, to lay beside its bill."""
    # The journal's account says who was paid; the job's own provider may be missing.
    sums = posted.posted(database, by=["paid_to"], period=month)
    paid = Group("provider", "paid_to", "text")
    return added_up(sums, [paid], name="reconciliation", title="By provider")


def accrued(held: pd.DataFrame) -> Table:
    """List what jobs still held when the month was closed (see months.accruals)."""
    return Table("accruals", "Accruals", _ACCRUALS, typed(held, _ACCRUALS))


def _undone(touched: pd.DataFrame) -> pd.Series[Any]:
    """Return whether a line stands before its job was opened again: what it charged came back."""
    opened = touched["id"].where(touched["kind"] == "reopen")
    last = touched["reservation_id"].map(opened.groupby(touched["reservation_id"]).max())
    return (touched["id"] < last).fillna(value=False).astype(bool)


def _as_committed(ended: pd.DataFrame) -> pd.DataFrame:
    """Return jobs as variance.variance takes them, without a word on who settled them."""
    return ended.assign(
        jobs=pd.Series(1, ended.index, "Int64"),
        state=pd.Series(str(State.COMMITTED), ended.index, "string"),
        refunded_micro=pd.Series(0, ended.index, "Int64"),
        undone_micro=pd.Series(0, ended.index, "Int64"),
        settled_by=pd.Series(pd.NA, ended.index, "string"),
    )


def _with(table: Table, names: tuple[str, ...]) -> Table:
    columns = tuple(column for column in table.columns if column.name in names)
    return Table(table.name, table.title, columns, typed(table.frame, columns))
