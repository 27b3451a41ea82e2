"""The wallets of a ledger: `ledger.wallets`. Each method is one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from kling_ledger.ledger import periods, purchases, slots, wallets
from kling_ledger.ledger.access import Access
from kling_ledger.ledger.engines.transaction import Transaction
from kling_ledger.ledger.purchases import Purchase
from kling_ledger.ledger.wallets import Costing, Wallet
from kling_pricing.money import Money


@dataclass(frozen=True, slots=True)
class Wallets:
    """The wallets of a ledger, by name or id."""

    _access: Access

    def create(self, name: str, unit: str, *, costing: Costing | None = None) -> Wallet:
        """Create an empty wallet; the same name and unit again return the same wallet.

        `costing` says how purchases are used up, and never changes: `fifo`, the default, or
        `average`. Raises ConflictError if it exists in another unit or costing, ConfigError for an
        invalid name, and AmountError for an invalid unit.
        """
        stamp = self._access.stamp()
        return self._access.write(
            lambda transaction: wallets.create(
                transaction, name, unit, costing=costing, stamp=stamp
            )
        )

    def fund(
        self, name: str, amount: Money, *, key: str | None = None, reason: str | None = None
    ) -> Wallet:
        """Add an allowance to a wallet, once per key; without a key, each call adds it.

        An allowance is a permission to spend, without cash; for credits that were paid for see
        `purchase`. `amount` is above zero. Raises NotFoundError for an unknown wallet, and
        AmountError beyond what one wallet can hold.
        """
        return self._fund(name, amount, None, key=key, reason=reason)

    def purchase(
        self,
        name: str,
        amount: Money,
        *,
        cash: Money,
        seller: str,
        bought_on: date,
        invoice: str | None = None,
        tax: Money | None = None,
        expires_on: date | None = None,
        key: str | None = None,
        reason: str | None = None,
    ) -> Wallet:
        """Add credits that were paid for to a wallet, once per key.

        `cash` is what `amount` cost without `tax`, in a currency; `expires_on` is the last day on
        which the seller takes them. Raises as `fund` does, AmountError for invalid cash or tax, and
        ConfigError for a day in the future or after the expiry.
        """
        paid = Purchase(cash, seller, bought_on, invoice, tax, expires_on)
        return self._fund(name, amount, paid, key=key, reason=reason)

    def record_purchase(
        self,
        name: str,
        transfer_id: str,
        *,
        cash: Money,
        seller: str,
        bought_on: date,
        invoice: str | None = None,
        tax: Money | None = None,
        expires_on: date | None = None,
        key: str | None = None,
    ) -> Wallet:
        """Record what was paid for an earlier funding, until then an allowance; once per key.

        Raises as `purchase` does, NotFoundError for an unknown funding of the wallet, ConflictError
        for one that already has a purchase, and PeriodError if its month is sealed.
        """
        stamp = self._access.stamp()
        paid = Purchase(cash, seller, bought_on, invoice, tax, expires_on)

        def record(transaction: Transaction) -> Wallet:
            transaction.be_alone()
            wallet = wallets.find(transaction, name)
            purchases.record(
                transaction,
                paid,
                of=transfer_id,
                wallet_id=wallet.id,
                key=key,
                stamp=stamp,
                sealed_to=self._access.rules.read(transaction).sealed_to,
            )
            return wallet

        return self._access.write(record, key=key)

    def adjust(
        self,
        name: str,
        amount: Money,
        *,
        reason: str,
        key: str | None = None,
        corrects: str | None = None,
    ) -> Wallet:
        """Correct a wallet's balance, up or down; `corrects` names the month that it is for.

        `amount` may be negative and is not zero; the balance may become negative, and then admits
        nothing. A `reason` is required: ConfigError without one. Once per key.
        """
        stamp = self._access.stamp(reason)

        def adjust(transaction: Transaction) -> Wallet:
            transaction.be_alone()
            rules = self._access.rules.read(transaction)
            period = periods.posting_period(transaction, rules, stamp.at_us, corrects)
            owner = slots.Owner(wallets.find(transaction, name).id)
            with slots.gathered(transaction, rules, {owner: 1}, stamp.at_us):
                return wallets.adjust(
                    transaction,
                    name,
                    amount,
                    key=key,
                    stamp=stamp,
                    period=period,
                    corrects=corrects,
                )

        return self._access.write(adjust, key=key)

    def remove(self, name: str) -> Wallet:
        """Remove a wallet that was never used, and return it.

        Raises NotFoundError for an unknown one, and WalletKeptError if a payment, a job, a budget,
        a token or an approval belongs to it.
        """
        return self._access.write(lambda transaction: wallets.remove(transaction, name))

    def rename(self, name: str, new_name: str) -> Wallet:
        """Rename a wallet that was never used; it gets another id too.

        Raises as `remove` does, and ConfigError for an invalid or used name.
        """
        stamp = self._access.stamp()
        return self._access.write(
            lambda transaction: wallets.rename(transaction, name, new_name, stamp=stamp)
        )

    def get(self, name: str) -> Wallet:
        """Return a wallet by its name or id; NotFoundError if there is none."""
        with self._access.read() as transaction:
            return wallets.find(transaction, name)

    def all(self) -> list[Wallet]:
        """Return all wallets by name."""
        with self._access.read() as transaction:
            return wallets.every(transaction)

    def _fund(
        self,
        name: str,
        amount: Money,
        paid: Purchase | None,
        *,
        key: str | None,
        reason: str | None,
    ) -> Wallet:
        stamp = self._access.stamp(reason)

        def fund(transaction: Transaction) -> Wallet:
            period = self._access.rules.read(transaction).period(stamp.at_us)
            return wallets.fund(
                transaction, name, amount, purchase=paid, key=key, stamp=stamp, period=period
            )

        return self._access.write(fund, key=key)
