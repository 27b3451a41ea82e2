"""First seals: those of format 1, over a month's transfers alone. No new ones are made.

Such a seal is SHA-256 over the seal before and every transfer of the month, in the order of their
ids, each after a line feed; the digest of each transfer is stored beside it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from kling_ledger.ledger.engines.transaction import Transaction

_DIGITS: Final = 24
"""How much of a transfer's digest is stored: enough to tell which one was changed."""
_AT_ONCE: Final = 2000
_COLUMNS: Final = (
    *("id", "kind", "debit_account", "credit_account", "amount_micro", "unit", "wallet_id"),
    *("reservation_id", "period", "corrects", "actor", "reason", "created_at"),
)
_TRANSFERS: Final = (
    f"SELECT {', '.join(_COLUMNS)} FROM transfer WHERE period = :period AND id > :after"
    f" ORDER BY id LIMIT {_AT_ONCE}"
)


@dataclass(frozen=True, slots=True)
class Line:
    """One transfer as it is sealed."""

    id: str
    text: str

    @property
    def digest(self) -> str:
        """The digest that names this transfer if the seal breaks."""
        import hashlib

        return hashlib.sha256(self.text.encode()).hexdigest()[:_DIGITS]


class FirstSeal:
    """A hash over the seal before and one transfer after another."""

    def __init__(self, previous: str | None) -> None:
        import hashlib

        self._hash = hashlib.sha256((previous or "").encode())
        self.transfers = 0

    def add(self, line: Line) -> None:
        """Add a transfer."""
        self._hash.update(b"\n" + line.text.encode())
        self.transfers += 1

    @property
    def value(self) -> str:
        """The seal over everything so far, in hexadecimal."""
        return self._hash.hexdigest()


def lines(transaction: Transaction, period: str) -> Iterator[Line]:
    """Return the transfers of a month as they were sealed, in the order of their ids."""
    after = ""
    while rows := transaction.rows(_TRANSFERS, period=period, after=after):
        for row in rows:
            values = [row[column] for column in _COLUMNS]
            yield Line(row["id"], json.dumps(values, separators=(",", ":")))
        after = rows[-1]["id"]


def worked_out(transaction: Transaction, period: str, *, previous: str | None) -> str:
    """Return the seal of a month, recomputed from its transfers."""
    seal = FirstSeal(previous)
    for line in lines(transaction, period):
        seal.add(line)
    return seal.value
