"""Expiry: ends reservations whose time is over and that were never sent."""

from __future__ import annotations

from typing import Final

from kling_ledger.ledger import scopes
from kling_ledger.ledger.budgets import Budget
from kling_ledger.ledger.changes import Change
from kling_ledger.ledger.engines.transaction import Stamp, Transaction
from kling_ledger.ledger.reservations import Reservation
from kling_ledger.ledger.rules import Rules
from kling_ledger.ledger.settlement import settle
from kling_ledger.ledger.states import State
from kling_pricing.money import USD

_DUE: Final = "FROM reservation WHERE state = 'reserved' AND expires_at <= :now"


def expire_due(transaction: Transaction, rules: Rules, *, stamp: Stamp) -> list[Reservation]:
    """Expire every reservation whose time is over and that was never sent."""
    transaction.be_alone()
    due = transaction.rows(f"SELECT id {_DUE} ORDER BY id", now=stamp.at_us)
    reason = "its time was over and nothing was sent"
    changes = [Change(row["id"], State.EXPIRED, reason=reason) for row in due]
    if not changes:
        return []
    result_of = settle(transaction, rules, changes, stamp=stamp)
    return [result_of(place) for place in range(len(changes))]


def is_any_due(transaction: Transaction, at_us: int) -> bool:
    """Whether an expired reservation still holds its credits."""
    return transaction.row(f"SELECT 1 AS is_due {_DUE} LIMIT 1", now=at_us) is not None


def due_of_wallet(transaction: Transaction, wallet_id: str, *, at_us: int) -> int:
    """Return how many millionths of a wallet are held by expired reservations."""
    query = f"SELECT COALESCE(SUM(held_micro), 0) AS held {_DUE} AND wallet_id = :wallet"
    row = transaction.row(query, now=at_us, wallet=wallet_id)
    return int(row["held"]) if row else 0


def due_in_window(
    transaction: Transaction, budget: Budget, starts_us: int, ends_us: int, *, at_us: int
) -> int:
    """Return how many millionths of a budget's window are held by expired reservations."""
    held = "usd_held_micro" if budget.unit == USD else "held_micro"
    condition, values = scopes.condition(budget.scope, wallet_id=budget.wallet_id, unit=budget.unit)
    row = transaction.row(
        f"SELECT COALESCE(SUM({held}), 0) AS held {_DUE} AND {condition}"
        " AND created_at >= :starts AND created_at < :ends",
        now=at_us,
        starts=starts_us,
        ends=ends_us,
        **values,
    )
    return int(row["held"]) if row else 0
