"""Relays: the client's own callback address, for a job whose provider calls a gateway instead.

The address given to the provider ends in a proof that only this ledger can make. So nothing is
relayed for anybody else who posts there: a client's address may hold a secret.
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
    """Store the callback address of a job's client; the same again changes nothing.

    Raises NotFoundError for an unknown reservation, and ConflictError for another address.
    """
    found = reservations.find(transaction, reservation_id)
    known = read(transaction, found.id)
    if known == url:
        return

    def refused() -> ConflictError:
        # Neither address is shown: it may contain a secret.
        return ConflictError(
            f"reservation {found.id}", field="callback_url", stored="an address", given="another"
        )

    if known is not None:
        raise refused()
    given = {"id": found.id, "url": url, "at": stamp.at_us}
    transaction.change(_INSERT, given, expect=1, refused=refused)


def read(transaction: Transaction, reservation_id: str) -> str | None:
    """Return the callback address of a job's client, None if there is none."""
    row = transaction.row(_SELECT, id=plain(reservation_id))
    return None if row is None else str(row["url"])


def proof(transaction: Transaction, url: str) -> str:
    """Return the proof that this ledger gave a provider an address in place of a client's own."""
    secret = bytes.fromhex(accounts.secret(transaction))
    # It loads hashlib, which would slow down every reservation.
    import hmac

    return hmac.new(secret, f"callback\0{url}".encode(), "sha256").hexdigest()[:_DIGITS]
