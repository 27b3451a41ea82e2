"""Accruals: what each reservation still held when a month ended, by the journal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kling_ledger.ledger.engines.transaction import Row, Transaction
from kling_ledger.ledger.schema import ACCRUAL
from kling_pricing.money import Money

_SET_ASIDE: Final = (
    "CASE WHEN kind IN ('reserve', 'reopen') THEN amount_micro ELSE -amount_micro END"
)
_HELD: Final = f"""
SELECT reservation_id, SUM({_SET_ASIDE}) AS held, unit FROM transfer
WHERE period <= :period
  AND kind IN ('reserve', 'reopen', 'commit', 'return', 'roll_back', 'expire')
GROUP BY reservation_id, unit HAVING SUM({_SET_ASIDE}) <> 0 ORDER BY reservation_id
"""
_KEPT: Final = (
    "SELECT period, reservation_id, amount_micro, unit FROM accrual WHERE period = :period"
    " ORDER BY reservation_id"
)


@dataclass(frozen=True, slots=True)
class Accrual:
    """What a reservation still held when a period ended."""

    reservation_id: str
    amount: Money


def of_month(transaction: Transaction, period: str) -> tuple[Accrual, ...]:
    """Return what was carried out of a period, by reservation."""
    rows = transaction.rows(_KEPT, period=period)
    return tuple(
        Accrual(row["reservation_id"], Money.from_micro(row["amount_micro"], row["unit"]))
        for row in rows
    )


def missing(transaction: Transaction, period: str) -> list[Row] | None:
    """Compute what a month carries forward; None if exactly that is already recorded."""
    held: list[Row] = [
        {
            "period": period,
            "reservation_id": row["reservation_id"],
            "amount_micro": int(row["held"]),
            "unit": row["unit"],
        }
        for row in transaction.rows(_HELD, period=period)
    ]
    return None if held == transaction.rows(_KEPT, period=period) else held


def replace(
    transaction: Transaction, period: str, rows: Sequence[Row], *, after: str, last: str | None
) -> None:
    """Record what a month carries forward, for the reservations after `after`, up to `last`."""
    transaction.be_alone()
    upto, given = ("", {}) if last is None else (" AND reservation_id <= :last", {"last": last})
    transaction.run(
        f"DELETE FROM accrual WHERE period = :period AND reservation_id > :after{upto}",
        period=period,
        after=after,
        **given,
    )
    transaction.insert(ACCRUAL, rows)
