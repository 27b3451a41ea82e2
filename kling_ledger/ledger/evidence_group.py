"""The evidence of a ledger: `ledger.evidence`. Each method is one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kling_ledger.ledger import evidence, ids
from kling_ledger.ledger.access import Access
from kling_ledger.ledger.evidence import ProviderBalance, ProviderRecord
from kling_pricing.money import Money


@dataclass(frozen=True, slots=True)
class Evidence:
    """What providers said of our tasks and accounts, as a ledger keeps it."""

    _access: Access

    def keep_records(self, records: Sequence[ProviderRecord]) -> None:
        """Keep what a provider's record said of tasks, in place of what it said before."""
        stamp = self._access.stamp()
        self._access.write(lambda transaction: evidence.record(transaction, records, stamp=stamp))

    def billed_at(self, provider: str, account: str) -> dict[str, Money]:
        """Return what an account's bills charged for tasks, as they were last compared with us."""
        with self._access.read() as transaction:
            return evidence.billed(transaction, provider, account)

    def keep_balance(self, provider: str, address: str, account: str, available: Money) -> None:
        """Keep what an account at a provider holds now."""
        stamp = self._access.stamp()
        self._access.write(
            lambda transaction: evidence.record_balance(
                transaction, provider, address, account, available, stamp=stamp
            )
        )

    def last_balance(self, provider: str, address: str, account: str) -> ProviderBalance | None:
        """Return what an account held when it was last asked, None if it never was."""
        with self._access.read() as transaction:
            return evidence.last_balance(transaction, provider, address, account)

    def charged_since(self, known: ProviderBalance) -> Money:
        """Return what our journal says that an account was charged since it was asked."""
        with self._access.read() as transaction:
            micro = evidence.moved_since(transaction, known, ids.to_us(known.at))
        return Money.from_micro(micro, known.available.unit)
