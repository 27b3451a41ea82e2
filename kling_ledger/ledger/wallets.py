"""Wallets: an owner's account in one unit. Created, funded, adjusted and shown.

A funding is an allowance, a permission to spend, unless a purchase says what was paid for it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal, get_args

from kling_ledger.errors import ConfigError, ConflictError, NotFoundError, WalletKeptError
from kling_ledger.ledger import idempotency
from kling_ledger.ledger.engines.transaction import Row, Stamp, Transaction, overtaken
from kling_ledger.ledger.idempotency import Content
from kling_ledger.ledger.ids import from_us
from kling_ledger.ledger.journal import Journal
from kling_ledger.ledger.purchases import Purchase, write
from kling_ledger.ledger.schema import WALLET
from kling_ledger.ledger.slots import WALLETS
from kling_pricing.counting import counted
from kling_pricing.errors import AmountError
from kling_pricing.money import MAX_MICRO, Money

Costing = Literal["fifo", "average"]
"""How purchases are used up: first in, first out, or at the moving average of their cost."""

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,63}")
_SELECT: Final = (
    "SELECT id, name, unit, funded_micro, adjusted_micro, posted_micro, reserved_micro, created_at,"
    f" costing FROM {WALLETS}"
)

_BELONGINGS: Final = {
    "payments": ("funding or adjustment", "fundings and adjustments"),
    "jobs": ("job", "jobs"),
    "budgets": ("budget", "budgets, removed ones too"),
    "tokens": ("token", "tokens, revoked ones too"),
    "approvals": ("approval", "approvals"),
}
"""What may belong to a wallet, in the singular and the plural."""

_BELONGS: Final = """
SELECT (SELECT COUNT(*) FROM transfer WHERE wallet_id = :id AND reservation_id IS NULL) AS payments,
    (SELECT COUNT(*) FROM reservation WHERE wallet_id = :id) AS jobs,
    (SELECT COUNT(*) FROM budget WHERE wallet_id = :id) AS budgets,
    (SELECT COUNT(*) FROM token WHERE wallet_id = :id) AS tokens,
    (SELECT COUNT(*) FROM approval WHERE wallet_id = :id) AS approvals
"""
_RUN_OUT: Final = "put new credits elsewhere: a wallet with nothing left admits nothing"
_ANOTHER: Final = "create another wallet, put new credits there, and let this one run out"


@dataclass(frozen=True, slots=True)
class Wallet:
    """A wallet as it stands: `posted` is what was funded and adjusted minus what was spent."""

    id: str
    name: str
    unit: str
    funded: Money
    adjusted: Money
    posted: Money
    reserved: Money
    created_at: datetime
    costing: Costing = "fifo"

    @property
    def available(self) -> Money:
        """What may still be reserved; negative after a job cost more than was set aside."""
        return self.posted - self.reserved

    @property
    def spent(self) -> Money:
        """What was committed in total, less refunds."""
        return self.funded + self.adjusted - self.posted


def create(
    transaction: Transaction,
    name: str,
    unit: str,
    *,
    costing: Costing | None = None,
    stamp: Stamp,
) -> Wallet:
    """Create an empty wallet; the same name, unit and costing again return the same wallet.

    `costing` never changes; None means the wallet's own, or first in, first out for a new one.
    """
    Money.zero(unit)
    if costing not in {None, *get_args(Costing)}:
        raise ConfigError(f"no such costing: {costing!r}", hint="use fifo or average")
    # A name that looks like an id could be mistaken for another wallet.
    if not NAME.fullmatch(name) or name.startswith("wal_"):
        raise ConfigError(
            f"invalid wallet name: {name!r}",
            hint="use up to 64 letters, digits and . _ / - beginning with a letter or digit",
        )
    transaction.be_alone()
    row = transaction.row(f"{_SELECT} WHERE name = :name", name=name)
    if row is None:
        wallet_id = Journal(stamp, "").new_id("wal")
        new = {
            "id": wallet_id,
            "name": name,
            "unit": unit,
            "funded_micro": 0,
            "adjusted_micro": 0,
            "posted_micro": 0,
            "reserved_micro": 0,
            "actor": stamp.actor,
            "created_at": stamp.at_us,
            "shared_micro": None,
            "costing": "average" if costing == "average" else None,
        }
        transaction.insert(WALLET, [new])
        return find(transaction, name)
    if row["unit"] != unit:
        raise ConflictError(f"wallet {name}", field="unit", stored=row["unit"], given=unit)
    wallet = _wallet(row)
    if costing not in {None, wallet.costing}:
        raise ConflictError(f"wallet {name}", field="costing", stored=wallet.costing, given=costing)
    return wallet


def fund(
    transaction: Transaction,
    name: str,
    amount: Money,
    *,
    purchase: Purchase | None = None,
    key: str | None,
    stamp: Stamp,
    period: str,
) -> Wallet:
    """Add credits to a wallet, in its own unit, once per key; return its new state.

    With a `purchase` they were paid for, otherwise they are an allowance.
    """
    wallet = find(transaction, name)
    content: Content = {"operation": "fund", "wallet": wallet.name, "amount": str(amount)}
    if purchase is not None:
        content = {**content, "operation": "purchase", **purchase.content()}
    if idempotency.earlier_result(transaction, key, content) is not None:
        return wallet
    _check_unit(wallet, amount)
    if amount.micro <= 0:
        raise AmountError("amount", got=str(amount), allowed="more than 0")
    if purchase is not None:
        purchase.check(stamp)
    _check_bound(wallet, wallet.funded, amount)
    _add(transaction, wallet, "funded_micro", amount.micro)
    journal = Journal(stamp, period)
    funding = journal.transfer("fund", amount.micro, wallet_id=wallet.id, unit=wallet.unit)
    journal.write(transaction)
    if purchase is not None:
        write(transaction, purchase, transfer_id=funding, stamp=stamp, period=period)
    idempotency.remember(
        transaction, key, content, result_id=wallet.id, at_us=stamp.at_us, period=period
    )
    # Not read again: the result must be reported even if the database is lost right after.
    return replace(wallet, funded=wallet.funded + amount, posted=wallet.posted + amount)


def adjust(
    transaction: Transaction,
    name: str,
    amount: Money,
    *,
    key: str | None,
    stamp: Stamp,
    period: str,
    corrects: str | None = None,
) -> Wallet:
    """Correct a wallet's balance up or down, with a reason, once per key.

    The balance may become negative, because the provider's balance is the truth; the wallet then
    admits nothing. `corrects` names the closed month that the correction is for.
    """
    wallet = find(transaction, name)
    content = {
        "operation": "adjust",
        "wallet": wallet.name,
        "amount": str(amount),
        "corrects": corrects,
    }
    if idempotency.earlier_result(transaction, key, content) is not None:
        return wallet
    _check_unit(wallet, amount)
    if not (stamp.reason or "").strip():
        raise ConfigError(
            "an adjustment needs a reason", hint="give a reason; the journal keeps it"
        )
    if amount.micro == 0:
        raise AmountError("amount", got=str(amount), allowed="any amount but 0")
    _check_bound(wallet, wallet.adjusted, amount)
    _add(transaction, wallet, "adjusted_micro", amount.micro)
    journal = Journal(stamp, period)
    journal.transfer(
        "adjust" if amount.micro > 0 else "adjust_down",
        abs(amount.micro),
        wallet_id=wallet.id,
        unit=wallet.unit,
        corrects=corrects,
    )
    journal.write(transaction)
    idempotency.remember(
        transaction, key, content, result_id=wallet.id, at_us=stamp.at_us, period=period
    )
    return replace(wallet, adjusted=wallet.adjusted + amount, posted=wallet.posted + amount)


def remove(transaction: Transaction, name: str) -> Wallet:
    """Remove a wallet that was never used. WalletKeptError for one that anything belongs to."""
    return _gone(transaction, name, change="removed", hint=_RUN_OUT)


def rename(transaction: Transaction, name: str, new_name: str, *, stamp: Stamp) -> Wallet:
    """Replace a wallet that was never used by one with another name; return it.

    It gets another id, so that a process that still knows the old name finds no wallet to pay from.
    The name of a used wallet is in sealed months, keys and exports: WalletKeptError.
    """
    transaction.be_alone()
    if transaction.row(f"{_SELECT} WHERE name = :name", name=new_name) is not None:
        raise ConfigError(f"there is a wallet {new_name} already", hint="use another name")
    old = _gone(transaction, name, change="renamed", hint=_ANOTHER)
    return create(transaction, new_name, old.unit, costing=old.costing, stamp=stamp)


def find(transaction: Transaction, name: str) -> Wallet:
    """Return a wallet by its name or id; NotFoundError if there is none."""
    known = name if name.isascii() and "\0" not in name else ""
    row = transaction.row(f"{_SELECT} WHERE name = :name OR id = :name", name=known)
    if row is None:
        names = [one["name"] for one in transaction.rows("SELECT name FROM wallet ORDER BY name")]
        raise NotFoundError("wallet", name, hint="create it first", known=names)
    return _wallet(row)


def every(transaction: Transaction) -> list[Wallet]:
    """Return all wallets by name."""
    return [_wallet(row) for row in transaction.rows(f"{_SELECT} ORDER BY name")]


def _add(transaction: Transaction, wallet: Wallet, column: str, amount_micro: int) -> None:
    transaction.change(
        f"UPDATE wallet SET {column} = {column} + :amount, posted_micro = posted_micro + :amount"
        f" WHERE id = :id AND {column} = :before",
        {"amount": amount_micro, "id": wallet.id, "before": getattr(wallet, column[:-6]).micro},
        expect=1,
        refused=overtaken,
    )


def _gone(transaction: Transaction, name: str, *, change: str, hint: str) -> Wallet:
    """Delete a wallet to which nothing belongs, and return what it was."""
    transaction.be_alone()
    wallet = find(transaction, name)
    found = transaction.row(_BELONGS, id=wallet.id) or {}
    stands = [
        counted(found[what], one, many) for what, (one, many) in _BELONGINGS.items() if found[what]
    ]
    if stands:
        raise WalletKeptError(wallet.name, change=change, stands=stands, hint=hint)
    for table, column in (("slot", "owner_id"), ("wallet", "id")):
        transaction.change(
            f"DELETE FROM {table} WHERE {column} = :id",
            {"id": wallet.id},
            expect=None,
            refused=overtaken,
        )
    return wallet


def _check_unit(wallet: Wallet, amount: Money) -> None:
    if not isinstance(amount, Money):
        raise AmountError("amount", got=amount, allowed="Money, such as Money.parse('10 USD')")
    if amount.unit != wallet.unit:
        raise AmountError("unit", got=amount.unit, allowed=wallet.unit)


def _check_bound(wallet: Wallet, moved: Money, amount: Money) -> None:
    """Keep a wallet's figures, and the difference of any two, exact in every reader."""
    figures = (moved, wallet.funded + wallet.adjusted, wallet.posted, wallet.available)
    if not all(-MAX_MICRO <= figure.micro + amount.micro <= MAX_MICRO for figure in figures):
        largest = Money.from_micro(MAX_MICRO, wallet.unit)
        raise AmountError("funding", got=str(amount), allowed=f"{largest} in one wallet in all")


def _wallet(row: Row) -> Wallet:
    unit = row["unit"]
    return Wallet(
        id=row["id"],
        name=row["name"],
        unit=unit,
        funded=Money.from_micro(row["funded_micro"], unit),
        adjusted=Money.from_micro(row["adjusted_micro"], unit),
        posted=Money.from_micro(row["posted_micro"], unit),
        reserved=Money.from_micro(row["reserved_micro"], unit),
        created_at=from_us(row["created_at"]),
        costing=row["costing"] or "fifo",
    )
