"""Purchases: what was paid for the credits of a funding. A funding without one is an allowance.

A purchase is written once, beside the `fund` transfer that it paid for, and counts in its month: so
the seal of that month covers it, and once the month is sealed none is added.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

from kling_ledger.errors import ConfigError, ConflictError, NotFoundError, PeriodError
from kling_ledger.ledger import idempotency
from kling_ledger.ledger.engines.transaction import Row, Stamp, Transaction
from kling_ledger.ledger.ids import from_us
from kling_ledger.ledger.schema import PURCHASE_LOT
from kling_pricing.errors import AmountError
from kling_pricing.money import Money

LONGEST_TEXT: Final = 200
"""The most characters in the name of a seller or an invoice."""

_CURRENCY_LETTERS: Final = 3
_OF: Final = (
    "SELECT transfer.id, transfer.kind, transfer.wallet_id, transfer.period, lot.transfer_id AS lot"
    " FROM transfer LEFT JOIN purchase_lot AS lot ON lot.transfer_id = transfer.id"
    " WHERE transfer.id = :id"
)
_ALLOWANCES: Final = (
    "SELECT COUNT(*) AS count FROM transfer WHERE kind = 'fund'"
    " AND NOT EXISTS (SELECT 1 FROM purchase_lot WHERE transfer_id = transfer.id)"
)


@dataclass(frozen=True, slots=True)
class Purchase:
    """What was paid for credits: `cash` without tax, in a currency; days are those of UTC.

    `tax` is in the same currency. `expires_on` is the last day on which the seller takes the
    credits; None if they do not expire, or if unknown.
    """

    cash: Money
    seller: str
    bought_on: date
    invoice: str | None = None
    tax: Money | None = None
    expires_on: date | None = None

    def check(self, stamp: Stamp) -> None:
        """Refuse a payment that is impossible or in the future, with AmountError or ConfigError."""
        for name, paid in (("cash", self.cash), ("tax", self.tax)):
            if paid is not None:
                _check_paid(name, paid)
        if self.tax is not None and self.tax.unit != self.cash.unit:
            raise AmountError("tax", got=str(self.tax), allowed=f"an amount in {self.cash.unit}")
        _check_text("seller", self.seller)
        if self.invoice is not None:
            _check_text("invoice", self.invoice)
        self._check_days(from_us(stamp.at_us).date())

    def _check_days(self, today: date) -> None:
        if self.bought_on > today:
            raise ConfigError(
                f"{self.bought_on} is in the future", hint="give the day of the purchase, in UTC"
            )
        if self.expires_on is not None and self.expires_on < self.bought_on:
            raise ConfigError(f"bought on {self.bought_on}, after it expired on {self.expires_on}")

    def content(self) -> dict[str, str | None]:
        """Return what was asked, field by field, for the caller's key."""
        return {
            "cash": str(self.cash),
            "seller": self.seller,
            "bought_on": self.bought_on.isoformat(),
            "invoice": self.invoice,
            "tax": None if self.tax is None else str(self.tax),
            "expires_on": None if self.expires_on is None else self.expires_on.isoformat(),
        }


def write(
    transaction: Transaction, purchase: Purchase, *, transfer_id: str, stamp: Stamp, period: str
) -> None:
    """Record what a funding cost, in the month in which the funding counts."""
    row = {
        "transfer_id": transfer_id,
        "seller": purchase.seller,
        "cash_micro": purchase.cash.micro,
        "currency": purchase.cash.unit,
        "tax_micro": None if purchase.tax is None else purchase.tax.micro,
        "invoice": purchase.invoice,
        "bought_on": purchase.bought_on.isoformat(),
        "expires_on": None if purchase.expires_on is None else purchase.expires_on.isoformat(),
        "actor": stamp.actor,
        "created_at": stamp.at_us,
        "period": period,
    }
    transaction.insert(PURCHASE_LOT, [row])


def record(
    transaction: Transaction,
    purchase: Purchase,
    *,
    of: str,
    wallet_id: str,
    key: str | None,
    stamp: Stamp,
    sealed_to: str,
) -> None:
    """Record that a funding `of` a wallet, until now an allowance, was paid for; once per key.

    Raises NotFoundError if it is not a funding of the wallet, ConflictError if it has a purchase,
    and PeriodError if its month is sealed: a reported month does not change.
    """
    content = {"operation": "purchase of", "transfer": of, **purchase.content()}
    if idempotency.earlier_result(transaction, key, content) is not None:
        return
    purchase.check(stamp)
    funding = _funding(transaction, of, wallet_id)
    period = str(funding["period"])
    if period <= sealed_to:
        raise PeriodError(
            f"funding {of} counts in {period}, which is sealed: it stays an allowance",
            hint="adjust the wallet down, and record the purchase as of today",
        )
    write(transaction, purchase, transfer_id=of, stamp=stamp, period=period)
    idempotency.remember(
        transaction, key, content, result_id=wallet_id, at_us=stamp.at_us, period=period
    )


def allowances(transaction: Transaction) -> int:
    """Return how many fundings are allowances: no cash is recorded for them."""
    row = transaction.row(_ALLOWANCES)
    return int(row["count"]) if row else 0


def _funding(transaction: Transaction, of: str, wallet_id: str) -> Mapping[str, object]:
    known: Row | None = transaction.row(_OF, id=of if of.isascii() and "\0" not in of else "")
    if known is None or known["kind"] != "fund" or known["wallet_id"] != wallet_id:
        raise NotFoundError(
            "funding of this wallet", of, hint="kling-ledger report purchases lists fundings"
        )
    if known["lot"] is not None:
        raise ConflictError(f"funding {of}", field="purchase", stored="recorded", given="another")
    return known


def _check_paid(name: str, paid: Money) -> None:
    if not isinstance(paid, Money):
        raise AmountError(name, got=paid, allowed="Money, such as Money.parse('10 USD')")
    unit = paid.unit
    if len(unit) != _CURRENCY_LETTERS or not (unit.isalpha() and unit.isupper()):
        raise AmountError(name, got=str(paid), allowed="an amount in a currency, such as 10 USD")
    if paid.micro < 0:
        raise AmountError(name, got=str(paid), allowed="0 or more")


def _check_text(name: str, text: str) -> None:
    if not text.strip() or len(text) > LONGEST_TEXT or "\0" in text:
        raise ConfigError(f"{name} has 1 to {LONGEST_TEXT} characters, got {text!r}")
