"""Rehearsal: a ledger in which everything is really done and then undone; it records what moved.

Each write first repeats those before it, in one transaction that is rolled back. So one builds on
another, and nothing stays locked between them. Reads see the ledger as it really is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, TypeVar

from kling_ledger.ledger.engines.database import Database
from kling_ledger.ledger.engines.transaction import Batch, Row, Transaction
from kling_pricing.money import Money

if TYPE_CHECKING:
    from kling_ledger.ledger.engines.awaiting import TooLate

Item = TypeVar("Item")
Result = TypeVar("Result")

_MOVED: Final = """
SELECT transfer.id, transfer.kind, transfer.amount_micro, transfer.unit, transfer.period,
    replace(transfer.debit_account, wallet.id, wallet.name) AS debit,
    replace(transfer.credit_account, wallet.id, wallet.name) AS credit,
    wallet.name AS wallet, transfer.reservation_id
FROM transfer JOIN wallet ON wallet.id = transfer.wallet_id
WHERE transfer.id IN (:given)
"""
_THERE: Final = "SELECT id FROM reservation WHERE id IN (:given)"


@dataclass(frozen=True, slots=True)
class Transfer:
    """What would move from one account to another.

    In the paths of accounts, a wallet's name replaces its id. `reservation_id` is None if the
    reservation does not exist outside the rehearsal.
    """

    kind: str
    debit_account: str
    credit_account: str
    amount: Money
    wallet: str
    reservation_id: str | None
    period: str


class Rehearsal(Database):
    """A database whose writes are undone. `transfers` is what all of them together would move."""

    def __init__(self, url: str) -> None:
        super().__init__(url, create=False)
        self.transfers: list[Transfer] = []
        self._done: list[Callable[[Transaction], Any]] = []
        self._turn = Lock()

    def write(self, operation: Callable[[Transaction], Result]) -> Result:
        """Return what an operation would, after the earlier ones; the database stays unchanged."""
        with self._turn:
            try:
                super().write(lambda transaction: self._undone(transaction, operation))
            except _Undone as undone:
                self._done.append(operation)
                self.transfers = self._told(undone.moved)
                result: Result = undone.result
                return result
        raise AssertionError("a rehearsal was written")

    def write_batch(self, batch: Batch[Item, Result]) -> list[Result]:
        """Return what an operation on items would."""

        def run(transaction: Transaction) -> list[Result]:
            result_of = batch(transaction)
            return [result_of(place) for place in range(len(batch.items))]

        return self.write(run)

    async def awrite_batch(self, batch: Batch[Item, Result]) -> tuple[list[Result], TooLate]:
        """Return what an operation on items would."""
        from kling_ledger.ledger.engines.awaiting import in_thread

        return await in_thread(lambda: self.write_batch(batch))

    def _undone(self, transaction: Transaction, operation: Callable[[Transaction], Any]) -> None:
        # In an exclusive transaction every statement is answered at once, before the end.
        transaction.be_alone()
        for earlier in self._done:
            earlier(transaction)
        result = operation(transaction)
        rows = transaction.rows_for(_MOVED, transaction.moved) if transaction.moved else []
        place = {name: at for at, name in enumerate(transaction.moved)}
        raise _Undone(result, sorted(rows, key=lambda row: place[row["id"]]))

    def _told(self, moved: Sequence[Row]) -> list[Transfer]:
        """Return what moved; a reservation that exists only in the rehearsal has no id."""
        named = sorted({row["reservation_id"] for row in moved if row["reservation_id"]})
        with self.read() as transaction:
            there = {row["id"] for row in transaction.rows_for(_THERE, named)}
        return [
            Transfer(
                row["kind"],
                row["debit"],
                row["credit"],
                Money.from_micro(row["amount_micro"], row["unit"]),
                row["wallet"],
                row["reservation_id"] if row["reservation_id"] in there else None,
                row["period"],
            )
            for row in moved
        ]


class _Undone(Exception):  # noqa: N818 - it says that all went well
    """Ends the transaction of a rehearsal; never seen by a caller."""

    def __init__(self, result: Any, moved: Sequence[Row]) -> None:
        super().__init__("a rehearsal is undone")
        self.result = result
        self.moved = moved
