"""Evidence: what providers' own records said when they were compared with ours.

It moves no money. For a task the latest statement is kept; balances are all kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from kling_ledger.ledger.engines.transaction import Stamp, Transaction
from kling_ledger.ledger.ids import first_id, from_us
from kling_ledger.ledger.schema import PROVIDER_BALANCE, PROVIDER_RECORD
from kling_pricing.money import Money

ASKED: Final = "task"
"""The source of a polled task's own answer; every other source is a bill."""


@dataclass(frozen=True, slots=True)
class ProviderRecord:
    """What a provider's record said about a task; `billed` is None if it named no amount.

    `source` is ASKED, or the name of a bill.
    """

    provider: str
    account: str
    task_id: str
    reservation_id: str | None
    verdict: str
    state: str | None
    billed: Money | None
    source: str


@dataclass(frozen=True, slots=True)
class ProviderBalance:
    """What an account at a provider held at an instant."""

    provider: str
    address: str
    account: str
    available: Money
    at: datetime


def record(transaction: Transaction, records: Sequence[ProviderRecord], *, stamp: Stamp) -> None:
    """Store what a provider's record says, replacing what it said before."""
    transaction.be_alone()
    for one in records:
        transaction.run(
            "DELETE FROM provider_record"
            " WHERE provider = :provider AND account = :account AND task_id = :task",
            provider=one.provider,
            account=one.account,
            task=one.task_id,
        )
    rows = [
        {
            "provider": one.provider,
            "account": one.account,
            "task_id": one.task_id,
            "reservation_id": one.reservation_id,
            "verdict": one.verdict,
            "state": one.state,
            "billed_micro": None if one.billed is None else one.billed.micro,
            "unit": None if one.billed is None else one.billed.unit,
            "source": one.source,
            "actor": stamp.actor,
            "checked_at": stamp.at_us,
        }
        for one in records
    ]
    if rows:
        transaction.insert(PROVIDER_RECORD, rows)


def billed(transaction: Transaction, provider: str, account: str) -> dict[str, Money]:
    """Return what an account's bills charged for tasks; answers of polled tasks do not count."""
    rows = transaction.rows(
        "SELECT task_id, billed_micro, unit FROM provider_record WHERE provider = :provider"
        " AND account = :account AND source <> :asked AND billed_micro IS NOT NULL",
        provider=provider,
        account=account,
        asked=ASKED,
    )
    return {row["task_id"]: Money.from_micro(row["billed_micro"], row["unit"]) for row in rows}


def record_balance(
    transaction: Transaction,
    provider: str,
    address: str,
    account: str,
    available: Money,
    *,
    stamp: Stamp,
) -> None:
    """Store an account's balance; a second one at the same microsecond is ignored."""
    transaction.be_alone()
    last = last_balance(transaction, provider, address, account)
    if last is not None and last.at == from_us(stamp.at_us):
        return
    row = {
        "provider": provider,
        "address": address,
        "account": account,
        "checked_at": stamp.at_us,
        "available_micro": available.micro,
        "unit": available.unit,
        "actor": stamp.actor,
    }
    transaction.insert(PROVIDER_BALANCE, [row])


def last_balance(
    transaction: Transaction, provider: str, address: str, account: str
) -> ProviderBalance | None:
    """Return the latest balance of an account; None if there is none."""
    row = transaction.row(
        f"SELECT {PROVIDER_BALANCE.selected} FROM provider_balance"
        " WHERE provider = :provider AND address = :address"
        " AND account = :account ORDER BY checked_at DESC LIMIT 1",
        provider=provider,
        address=address,
        account=account,
    )
    if row is None:
        return None
    available = Money.from_micro(row["available_micro"], row["unit"])
    return ProviderBalance(provider, address, account, available, from_us(row["checked_at"]))


def moved_since(transaction: Transaction, known: ProviderBalance, at_us: int) -> int:
    """Return what our journal charged to an account after an instant, in millionths."""
    row = transaction.row(
        "SELECT COALESCE(SUM(CASE WHEN credit_account LIKE 'provider/%' THEN amount_micro"
        " WHEN debit_account LIKE 'provider/%' THEN -amount_micro ELSE 0 END), 0) AS moved"
        # Ids begin with their instant, so later transfers are at the end of the journal; a cross
        # join makes the database begin with its first table.
        " FROM transfer CROSS JOIN reservation WHERE transfer.id >= :first"
        " AND transfer.created_at > :at AND reservation.id = transfer.reservation_id"
        " AND provider = :provider AND address = :address AND account = :account",
        first=first_id("txf", at_us),
        at=at_us,
        provider=known.provider,
        address=known.address,
        account=known.account,
    )
    return int(row["moved"]) if row else 0
