"""The journal: immutable transfers between accounts, and the events of each reservation.

Accounts are paths. `wallet/ID/available` and `wallet/ID/reserved` hold what an owner has,
`funding` is where credits come from, `provider/NAME` is where they are spent.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from kling_ledger.ledger.database import Transaction
from kling_ledger.ledger.ids import new_id, to_us
from kling_ledger.ledger.tables import State

FUNDING: Final = "funding"

KINDS: Final = (
    ("fund", "funding", "available"),
    ("reserve", "available", "reserved"),
    ("commit", "reserved", "provider"),
    ("return", "reserved", "available"),
    ("roll_back", "reserved", "available"),
    ("overrun", "available", "provider"),
    ("late_commit", "available", "provider"),
)
"""Every kind of transfer, the account that it debits and the account that it credits."""

Kind = Literal[
    "fund",
    "reserve",
    "commit",
    "return",
    "roll_back",
    "overrun",
    "late_commit",
]

_INSERT_TRANSFER: Final = """
INSERT INTO transfer (id, kind, debit_account, credit_account, amount_micro, unit, wallet_id,
                      reservation_id, actor, reason, created_at)
VALUES (:id, :kind, :debit_account, :credit_account, :amount_micro, :unit, :wallet_id,
        :reservation_id, :actor, :reason, :created_at)
"""
_INSERT_EVENT: Final = """
INSERT INTO job_event (reservation_id, step, from_state, to_state, actor, reason, created_at)
SELECT :reservation_id, COALESCE(MAX(step), 0) + 1, :from_state, :to_state,
       :actor, :reason, :created_at
FROM job_event WHERE reservation_id = :reservation_id
"""


@dataclass(frozen=True, slots=True)
class Stamp:
    """Who changes something, when, and why."""

    at: datetime
    actor: str
    reason: str | None = None


def available(wallet_id: str) -> str:
    """Return the account of what a wallet may still reserve."""
    return f"wallet/{wallet_id}/available"


def reserved(wallet_id: str) -> str:
    """Return the account of what a wallet's open reservations hold."""
    return f"wallet/{wallet_id}/reserved"


def spent_at(provider: str | None) -> str:
    """Return the account of what was spent at a provider."""
    return f"provider/{provider or 'unnamed'}"


@dataclass(frozen=True, slots=True)
class Journal:
    """Writes the transfers of one wallet inside one transaction, all with one stamp."""

    transaction: Transaction
    stamp: Stamp
    wallet_id: str
    unit: str
    reservation_id: str | None = None

    def post(self, kind: Kind, amount_micro: int, *, debit: str, credit: str) -> None:
        """Move an amount from the debit account to the credit account; nothing moves nothing."""
        if amount_micro == 0:
            return
        self.transaction.run(
            _INSERT_TRANSFER,
            id=new_id("txf", self.stamp.at),
            kind=kind,
            debit_account=debit,
            credit_account=credit,
            amount_micro=amount_micro,
            unit=self.unit,
            wallet_id=self.wallet_id,
            reservation_id=self.reservation_id,
            actor=self.stamp.actor,
            reason=self.stamp.reason,
            created_at=to_us(self.stamp.at),
        )


def record_event(
    transaction: Transaction,
    reservation_id: str,
    *,
    from_state: State | None,
    to_state: State,
    stamp: Stamp,
) -> None:
    """Write down one change of a reservation's state; its steps are numbered from 1."""
    transaction.run(
        _INSERT_EVENT,
        reservation_id=reservation_id,
        from_state=from_state,
        to_state=to_state,
        actor=stamp.actor,
        reason=stamp.reason,
        created_at=to_us(stamp.at),
    )
