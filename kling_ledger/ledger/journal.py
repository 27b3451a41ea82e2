"""The journal: immutable transfers between accounts, and the events of each reservation.

Accounts are paths. `wallet/ID/available` and `wallet/ID/reserved` hold what an owner has,
`funding` is where credits come from, `adjustment` is what corrects them, and `provider/NAME` is
where they are spent.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final, Literal

from kling_ledger.ledger.engines.transaction import Row, Stamp, Transaction
from kling_ledger.ledger.ids import Prefix, new_id, numbers
from kling_ledger.ledger.schema import JOB_EVENT, TRANSFER
from kling_ledger.ledger.states import State

KINDS: Final = (
    ("fund", "funding", "available"),
    ("adjust", "adjustment", "available"),
    ("adjust_down", "available", "adjustment"),
    ("reserve", "available", "reserved"),
    ("commit", "reserved", "provider"),
    ("return", "reserved", "available"),
    ("roll_back", "reserved", "available"),
    ("expire", "reserved", "available"),
    ("overrun", "available", "provider"),
    ("late_commit", "available", "provider"),
    ("refund", "provider", "available"),
    ("reopen", "available", "reserved"),
)
"""Every kind of transfer, the account that it debits and the account that it credits."""

Kind = Literal[
    "fund",
    "adjust",
    "adjust_down",
    "reserve",
    "commit",
    "return",
    "roll_back",
    "expire",
    "overrun",
    "late_commit",
    "refund",
    "reopen",
]

_SIDES: Final = {kind: (debit, credit) for kind, debit, credit in KINDS}


class Journal:
    """Collects what one operation has to record, and writes it in few statements.

    Ids are numbered in the order in which they are requested.
    """

    def __init__(self, stamp: Stamp, period: str) -> None:
        self.stamp = stamp
        self._period = period
        self._numbers = numbers(stamp.at_us, stamp.chance)
        self._transfers: list[Row] = []
        self._events: list[Row] = []

    def new_id(self, prefix: Prefix) -> str:
        """Return the next id of this operation."""
        return new_id(prefix, next(self._numbers))

    def transfer(
        self,
        kind: Kind,
        amount_micro: int,
        *,
        wallet_id: str,
        unit: str,
        reservation_id: str | None = None,
        provider: str | None = None,
        period: str | None = None,
        corrects: str | None = None,
        reason: str | None = None,
    ) -> str:
        """Move an amount between the two accounts of its kind; return the id of the transfer.

        An amount of zero makes no transfer, and the returned id is empty. A transfer counts in the
        month of this journal unless another is named.
        """
        if amount_micro == 0:
            # Callers pass every part of a change; most changes have only some of them.
            return ""
        debit, credit = _SIDES[kind]
        stamp = self.stamp
        transfer_id = self.new_id("txf")
        self._transfers.append(
            {
                "id": transfer_id,
                "kind": kind,
                "debit_account": account(debit, wallet_id, provider),
                "credit_account": account(credit, wallet_id, provider),
                "amount_micro": amount_micro,
                "unit": unit,
                "wallet_id": wallet_id,
                "reservation_id": reservation_id,
                "period": period or self._period,
                "corrects": corrects,
                "actor": stamp.actor,
                "reason": reason or stamp.reason,
                "created_at": stamp.at_us,
            }
        )
        return transfer_id

    def event(
        self,
        reservation_id: str,
        step: int,
        *,
        from_state: State | None,
        to_state: State,
        said: Row,
        period: str | None = None,
        reason: str | None = None,
    ) -> None:
        """Record one change of a reservation; its steps are numbered from 1.

        `said` has the reservation's task, settlement and worth after the change.
        """
        stamp = self.stamp
        self._events.append(
            {
                "reservation_id": reservation_id,
                "step": step,
                "from_state": from_state,
                "to_state": to_state,
                "actor": stamp.actor,
                "reason": reason or stamp.reason,
                "created_at": stamp.at_us,
                "period": period or self._period,
                "task_id": said["task_id"],
                "settled_by": said["settled_by"],
                "usd_micro": said["usd_micro"],
            }
        )

    def write(self, transaction: Transaction) -> None:
        """Write everything that was collected."""
        if self._events:
            transaction.insert(JOB_EVENT, self._events)
        if self._transfers:
            transaction.insert(TRANSFER, self._transfers)
            transaction.moved.extend(one["id"] for one in self._transfers)


def account(side: str, wallet_id: str, provider: str | None = None) -> str:
    """Return the path of an account: `available` and `reserved` are a wallet's own."""
    if side == "provider":
        return f"provider/{provider or 'unnamed'}"
    return f"wallet/{wallet_id}/{side}" if side in {"available", "reserved"} else side


def canonical(transaction: Transaction) -> Iterator[str]:
    """Write the whole journal, one JSON array a line: the same history, the same lines.

    First every transfer in the order of ids, then every event by reservation and step.
    """
    for table, order in ((TRANSFER, "id"), (JOB_EVENT, "reservation_id, step")):
        query = f"SELECT {', '.join(table.columns)} FROM {table.name} ORDER BY {order}"
        for row in transaction.rows(query):
            yield canonical_line(table.in_order(row))


def canonical_line(values: tuple[Any, ...]) -> str:
    """Write one row as it is sealed and compared: a JSON array without spaces, in ASCII."""
    return json.dumps(values, separators=(",", ":"))
