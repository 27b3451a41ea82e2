"""Wallets: an owner's account in one unit. Created, funded, and shown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from kling_ledger.errors import ConfigError, ConflictError, NotFoundError
from kling_ledger.ledger import idempotency
from kling_ledger.ledger.database import Transaction
from kling_ledger.ledger.ids import from_us, new_id, to_us
from kling_ledger.ledger.journal import FUNDING, Journal, Stamp, available
from kling_pricing.errors import AmountError
from kling_pricing.money import MAX_MICRO, Money

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,63}")


@dataclass(frozen=True, slots=True)
class Wallet:
    """A wallet as it stands: `posted` is funded minus spent, `available` what is not reserved."""

    id: str
    name: str
    unit: str
    funded: Money
    posted: Money
    reserved: Money
    created_at: datetime

    @property
    def available(self) -> Money:
        """What may still be reserved; below zero after a job cost more than was set aside."""
        return self.posted - self.reserved

    @property
    def spent(self) -> Money:
        """What was committed in all."""
        return self.funded - self.posted


def create(transaction: Transaction, name: str, unit: str, *, stamp: Stamp) -> Wallet:
    """Create an empty wallet. The same name and unit again is the same wallet."""
    Money.zero(unit)
    # A name that looks like an id could be taken for another wallet's.
    if not _NAME.fullmatch(name) or name.startswith("wal_"):
        raise ConfigError(
            f"{name!r} cannot name a wallet",
            hint="use up to 64 letters, digits and . _ / - beginning with a letter or digit",
        )
    transaction.run(
        "INSERT INTO wallet"
        " (id, name, unit, funded_micro, posted_micro, reserved_micro, created_at)"
        " VALUES (:id, :name, :unit, 0, 0, 0, :created_at) ON CONFLICT (name) DO NOTHING",
        id=new_id("wal", stamp.at),
        name=name,
        unit=unit,
        created_at=to_us(stamp.at),
    )
    wallet = find(transaction, name)
    if wallet.unit != unit:
        raise ConflictError(f"wallet {name}", field="unit", stored=wallet.unit, given=unit)
    return wallet


def fund(
    transaction: Transaction, name: str, amount: Money, *, key: str | None, stamp: Stamp
) -> Wallet:
    """Add credits to a wallet, in its own unit, once per key."""
    wallet = find(transaction, name)
    content = {"operation": "fund", "wallet": wallet.name, "amount": str(amount)}
    if idempotency.earlier_result(transaction, key, content) is not None:
        return wallet
    _check_funding(wallet, amount)
    transaction.run(
        "UPDATE wallet SET funded_micro = funded_micro + :amount,"
        " posted_micro = posted_micro + :amount WHERE id = :id",
        amount=amount.micro,
        id=wallet.id,
    )
    journal = Journal(transaction, stamp, wallet.id, wallet.unit)
    journal.post("fund", amount.micro, debit=FUNDING, credit=available(wallet.id))
    idempotency.remember(transaction, key, content, result_id=wallet.id, at=stamp.at)
    return find(transaction, name)


def find(transaction: Transaction, name: str) -> Wallet:
    """Return a wallet by its name or id; NotFoundError if there is none."""
    known = name if name.isascii() else ""
    row = transaction.row("SELECT * FROM wallet WHERE name = :name OR id = :name", name=known)
    if row is None:
        raise NotFoundError(
            "wallet", name, hint=f"create it with: kling-ledger wallet create {name} --unit USD"
        )
    return _wallet(row)


def every(transaction: Transaction) -> list[Wallet]:
    """Return all wallets by name."""
    return [_wallet(row) for row in transaction.rows("SELECT * FROM wallet ORDER BY name")]


def _check_funding(wallet: Wallet, amount: Money) -> None:
    if not isinstance(amount, Money):
        raise AmountError("amount", got=amount, allowed="Money, such as Money.parse('10 USD')")
    if amount.unit != wallet.unit:
        raise AmountError("unit", got=amount.unit, allowed=wallet.unit)
    if amount.micro <= 0:
        raise AmountError("amount", got=str(amount), allowed="more than nothing")
    if wallet.funded.micro + amount.micro > MAX_MICRO:
        largest = Money.from_micro(MAX_MICRO, wallet.unit)
        raise AmountError("funding", got=str(amount), allowed=f"{largest} in one wallet in all")


def _wallet(row: dict[str, Any]) -> Wallet:
    unit = row["unit"]
    return Wallet(
        id=row["id"],
        name=row["name"],
        unit=unit,
        funded=Money.from_micro(row["funded_micro"], unit),
        posted=Money.from_micro(row["posted_micro"], unit),
        reserved=Money.from_micro(row["reserved_micro"], unit),
        created_at=from_us(row["created_at"]),
    )
