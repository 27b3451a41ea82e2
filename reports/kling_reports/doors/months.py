"""Months: a month of the journal that is closed hard, and what it carried forward."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import pandas as pd

from kling_ledger.errors import PeriodError
from kling_ledger.ledger import periods
from kling_ledger.ledger.engines.database import Database
from kling_ledger.ledger.ids import from_us
from kling_ledger.ledger.periods import Period
from kling_reports.frames import frame_of
from kling_reports.report import Kind

ACCRUAL_KINDS: Final[Mapping[str, Kind]] = {
    "reservation_id": "text",
    "created_at": "instant",
    "amount_micro": "money",
    "unit": "text",
    "wallet": "text",
    "project": "text",
    "provider": "text",
    "model": "text",
    "actor": "text",
}
"""The columns of accruals: one row is one reservation, with what it held when a month ended."""

_NOT_SEALED: Final = {"soft": "closed but not sealed", "open": "open again"}


@dataclass(frozen=True, slots=True)
class ClosedMonth:
    """A sealed month, and its seal recomputed from what it covers."""

    period: Period
    seal: str


def closed(database: Database, name: str) -> ClosedMonth:
    """Return a month that is closed hard; NotFoundError or PeriodError say what to do first."""
    with database.read() as transaction:
        period = periods.find(transaction, name)
        if period.state != "hard":
            raise PeriodError(
                f"period {name} is {_NOT_SEALED[period.state]}: its figures may still change",
                hint=f"kling-ledger close {name} --hard",
            )
        return ClosedMonth(period, periods.sealed_again(transaction, name))


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether a month is sealed, and when it last changed."""

    is_sealed: bool
    changed_at: datetime


def standings(database: Database) -> dict[str, Standing]:
    """Return the state of every month of the journal with transfers, by name."""
    with database.read() as transaction:
        sealed = {row["name"]: row["closed_at"] for row in periods.sealed(transaction)}
        rows = transaction.rows("SELECT period, MAX(created_at) AS last FROM transfer GROUP BY 1")
    return {
        str(row["period"]): Standing(
            row["period"] in sealed, from_us(sealed.get(row["period"]) or row["last"])
        )
        for row in rows
    }


def accruals(database: Database, period: str) -> pd.DataFrame:
    """Return what a closed month carried forward, by reservation, with ACCRUAL_KINDS."""
    with database.read() as transaction:
        rows = transaction.rows(
            "SELECT reservation_id, reservation.created_at, amount_micro, accrual.unit,"
            " wallet.name AS wallet, project, provider, model, reservation.actor FROM accrual"
            " JOIN reservation ON reservation.id = accrual.reservation_id"
            " JOIN wallet ON wallet.id = reservation.wallet_id"
            " WHERE period = :period ORDER BY reservation_id",
            period=period,
        )
    return frame_of(rows, ACCRUAL_KINDS)
