"""Lefts: what a wallet and its budgets would still admit, next to one reservation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kling_ledger.ledger import reservations
from kling_ledger.ledger.engines.transaction import Transaction
from kling_ledger.ledger.rules import Rules
from kling_ledger.ledger.scopes import subject_of
from kling_ledger.ledger.slots import WALLETS
from kling_ledger.ledger.standing import status
from kling_pricing.money import Money


@dataclass(frozen=True, slots=True)
class Left:
    """What is left in the wallet, and by name in each budget that counts the reservation.

    Negative after a job cost more than was reserved.
    """

    wallet: Money
    budgets: Mapping[str, Money]


def left_beside(
    transaction: Transaction, rules: Rules, reservation_id: str
) -> tuple[reservations.Reservation, Left]:
    """Return a reservation and what is left in its wallet and windows, read in one state."""
    row = reservations.find_rows(transaction, [reservation_id])[reservation_id]
    budgets = rules.covering(subject_of(row))
    standing = [status(transaction, budget, row["created_at"]) for budget in budgets]
    wallet = transaction.row(
        f"SELECT posted_micro - reserved_micro AS left_micro FROM {WALLETS} WHERE id = :id",
        id=row["wallet_id"],
    )
    left = Money.from_micro(int(wallet["left_micro"]) if wallet else 0, row["unit"])
    return reservations.from_row(row), Left(left, {one.budget.name: one.left for one in standing})
