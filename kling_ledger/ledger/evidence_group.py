"""The evidence of a ledger: `ledger.evidence`. Each method is one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kling_ledger.ledger import corrections, evidence, ids
from kling_ledger.ledger.access import Access
from kling_ledger.ledger.corrections import AppliedPlan, BillEntry, CorrectionPlan
from kling_ledger.ledger.evidence import ProviderBalance, ProviderRecord
from kling_pricing.money import Money


@dataclass(frozen=True, slots=True)
class Evidence:
    """What providers reported about our tasks and accounts, as stored in a ledger."""

    _access: Access

    def keep_records(self, records: Sequence[ProviderRecord]) -> None:
        """Store what a provider's record says about tasks, replacing what it said before."""
        stamp = self._access.stamp()
        self._access.write(lambda transaction: evidence.record(transaction, records, stamp=stamp))

    def billed_at(self, provider: str, account: str) -> dict[str, Money]:
        """Return what an account's bills charged for tasks, as last compared."""
        with self._access.read() as transaction:
            return evidence.billed(transaction, provider, account)

    def keep_balance(self, provider: str, address: str, account: str, available: Money) -> None:
        """Store the current balance of an account at a provider."""
        stamp = self._access.stamp()
        self._access.write(
            lambda transaction: evidence.record_balance(
                transaction, provider, address, account, available, stamp=stamp
            )
        )

    def last_balance(self, provider: str, address: str, account: str) -> ProviderBalance | None:
        """Return the last known balance of an account, None if there is none."""
        with self._access.read() as transaction:
            return evidence.last_balance(transaction, provider, address, account)

    def charged_since(self, known: ProviderBalance) -> Money:
        """Return what the journal charged to an account since its last balance."""
        with self._access.read() as transaction:
            micro = evidence.moved_since(transaction, known, ids.to_us(known.at))
        return Money.from_micro(micro, known.available.unit)

    def apply(self, plan: CorrectionPlan) -> AppliedPlan | None:
        """Apply all corrections of a plan, or none, and store the bill's rows behind them.

        Returns None if there is nothing to correct and no new row. Raises LedgerMovedError if a
        reservation has changed since the plan was made.
        """
        stamp = self._access.stamp()
        return self._access.write(
            lambda transaction: corrections.apply(
                transaction, self._access.rules.read(transaction), plan, stamp=stamp
            )
        )

    def undo(self, plan_id: str) -> AppliedPlan:
        """Restore every reservation of an applied plan to its previous state.

        Open ones are in doubt again and hold their credits. Raises NotFoundError, PlanUndoneError,
        and LedgerMovedError if a reservation has changed since.
        """
        stamp = self._access.stamp()
        return self._access.write(
            lambda transaction: corrections.undo(
                transaction, self._access.rules.read(transaction), plan_id, stamp=stamp
            )
        )

    def entries(self, provider: str, account: str) -> list[BillEntry]:
        """Return every stored row of an account's bills."""
        with self._access.read() as transaction:
            return corrections.entries(transaction, provider, account)

    def save_profile(self, name: str, answers: str) -> None:
        """Store answers about the form of a bill under a name."""
        stamp = self._access.stamp()
        self._access.write(
            lambda transaction: corrections.save_profile(transaction, name, answers, stamp=stamp)
        )

    def profile(self, name: str) -> str:
        """Return stored answers about the form of a bill. Raises NotFoundError."""
        with self._access.read() as transaction:
            return corrections.profile(transaction, name)
