"""Expiry: the clock ends reservations of which nothing was ever sent."""

from __future__ import annotations

from kling_ledger.ledger.changes import Change
from kling_ledger.ledger.engines.transaction import Stamp, Transaction
from kling_ledger.ledger.reservations import Reservation
from kling_ledger.ledger.rules import Rules
from kling_ledger.ledger.settlement import settle
from kling_ledger.ledger.states import State


def expire_due(transaction: Transaction, rules: Rules, *, stamp: Stamp) -> list[Reservation]:
    """End every reservation whose time is over and of which nothing was ever sent."""
    transaction.be_alone()
    due = transaction.rows(
        "SELECT id FROM reservation WHERE state = 'reserved' AND expires_at <= :now ORDER BY id",
        now=stamp.at_us,
    )
    reason = "its time was over and nothing was sent"
    changes = [Change(row["id"], State.EXPIRED, reason=reason) for row in due]
    if not changes:
        return []
    result_of = settle(transaction, rules, changes, stamp=stamp)
    return [result_of(place) for place in range(len(changes))]


def is_any_due(transaction: Transaction, at_us: int) -> bool:
    """Whether the clock has ended a reservation that still holds its credits."""
    query = "SELECT 1 AS is_due FROM reservation WHERE state = 'reserved' AND expires_at <= :now"
    return transaction.row(f"{query} LIMIT 1", now=at_us) is not None
