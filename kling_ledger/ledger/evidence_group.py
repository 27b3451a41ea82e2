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

    def apply(self, plan: CorrectionPlan) -> AppliedPlan | None:
        """Make all corrections of a plan, or none, and keep the rows of the bill behind them.

        Returns None where there is nothing to correct and no row that is not kept already.
        Raises LedgerMovedError where a reservation moved on since the plan was made.
        """
        stamp = self._access.stamp()
        return self._access.write(
            lambda transaction: corrections.apply(
                transaction, self._access.rules.read(transaction), plan, stamp=stamp
            )
        )

    def undo(self, plan_id: str) -> AppliedPlan:
        """Bring every reservation of an applied plan back to where it stood before.

        What was open is in doubt again and holds its credits. Raises NotFoundError,
        PlanUndoneError, and LedgerMovedError where a reservation moved on since.
        """
        stamp = self._access.stamp()
        return self._access.write(
            lambda transaction: corrections.undo(
                transaction, self._access.rules.read(transaction), plan_id, stamp=stamp
            )
        )

    def entries(self, provider: str, account: str) -> list[BillEntry]:
        """Return every row of an account's bills that was taken into account."""
        with self._access.read() as transaction:
            return corrections.entries(transaction, provider, account)

    def save_profile(self, name: str, answers: str) -> None:
        """Keep what was said of the form of a bill under a name."""
        stamp = self._access.stamp()
        self._access.write(
            lambda transaction: corrections.save_profile(transaction, name, answers, stamp=stamp)
        )

    def profile(self, name: str) -> str:
        """Return what was said of the form of a bill. Raises NotFoundError."""
        with self._access.read() as transaction:
            return corrections.profile(transaction, name)
