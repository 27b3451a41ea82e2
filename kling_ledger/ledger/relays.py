"""Relays: where a client wants to be called, of a job whose provider calls somebody in between.

The address that the provider is given instead ends in a proof, which only this ledger can make. So
nobody else who posts there has anything passed on: a client's address may hold a secret.
"""

from __future__ import annotations

from typing import Final

from kling_ledger.errors import ConflictError
from kling_ledger.ledger import accounts, reservations
from kling_ledger.ledger.engines.transaction import Stamp, Transaction, plain

_INSERT: Final = (
    "INSERT INTO callback_relay (reservation_id, url, created_at) VALUES (:id, :url, :at)"
    " ON CONFLICT (reservation_id) DO NOTHING"
)
_SELECT: Final = "SELECT url FROM callback_relay WHERE reservation_id = :id"
_DIGITS: Final = 32


def write(transaction: Transaction, reservation_id: str, url: str, *, stamp: Stamp) -> None:
    """Write down where the client of a job wants to be called; the same again changes nothing.

    Raises NotFoundError without such a reservation, and ConflictError for another address.
    """
    found = reservations.find(transaction, reservation_id)
    known = read(transaction, found.id)
    if known == url:
        return

    def refused() -> ConflictError:
        # Neither address is told: what stands in one may be a secret.
        return ConflictError(
            f"reservation {found.id}", field="callback_url", stored="an address", given="another"
        )

    if known is not None:
        raise refused()
    given = {"id": found.id, "url": url, "at": stamp.at_us}
    transaction.change(_INSERT, given, expect=1, refused=refused)


def read(transaction: Transaction, reservation_id: str) -> str | None:
    """Return where the client of a job wants to be called, None where it does not."""
    row = transaction.row(_SELECT, id=plain(reservation_id))
    return None if row is None else str(row["url"])


def proof(transaction: Transaction, url: str) -> str:
    """Return what shows that a provider was given an address by this ledger, for a client's own."""
    secret = bytes.fromhex(accounts.secret(transaction))
    # It loads hashlib, which a reservation should not have to wait for.
    import hmac

    return hmac.new(secret, f"callback\0{url}".encode(), "sha256").hexdigest()[:_DIGITS]
