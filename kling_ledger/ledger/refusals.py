"""Refusals: what is said of a window or a wallet that does not admit what was asked of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kling_ledger.errors import BudgetError, InsufficientCreditsError
from kling_ledger.ledger import expiry
from kling_ledger.ledger.demands import Demand
from kling_ledger.ledger.engines.transaction import Transaction
from kling_ledger.ledger.ids import from_us
from kling_ledger.ledger.slots import WALLETS
from kling_ledger.ledger.standing import window_figures
from kling_pricing.money import Money

WalletDemand = tuple[str, str, int]
"""What the jobs of one call ask of a wallet: its name, its unit, and how many millionths."""


@dataclass(frozen=True, slots=True)
class Refusals:
    """What one call asks of windows and wallets, for the one of them that says no.

    Windows are asked in the order of `demands`, and wallets after them, by id. In a mere question
    nothing was taken, and what the clock has ended counts as given back: a call that is refused
    gives it back before it is refused for good.
    """

    transaction: Transaction
    demands: Sequence[Demand]
    wallets: Mapping[str, WalletDemand]
    at_us: int
    is_question: bool = False

    def first(self) -> BudgetError | InsufficientCreditsError | None:
        """Return what would refuse first, as it is read; None where all would admit."""
        for demand in self.demands:
            limit = demand.budget.limit_at(self.at_us)
            is_over = sum(self._figures(demand)) + demand.amount_micro > limit
            if demand.budget.mode == "hard" and is_over:
                return self.of_window(demand)
        for wallet_id in sorted(self.wallets):
            if self._available(wallet_id) < self.wallets[wallet_id][2]:
                return self.of_wallet(wallet_id)
        return None

    def of_window(self, refusing: Demand) -> BudgetError:
        """Build the refusal of a window, with what all of them together would admit."""
        budget = refusing.budget
        held, spent = self._figures(refusing)
        return BudgetError(
            budget.name,
            limit=Money.from_micro(budget.limit_at(self.at_us), budget.unit),
            spent=Money.from_micro(spent, budget.unit),
            reserved=Money.from_micro(held, budget.unit),
            asked=Money.from_micro(refusing.amount_micro, budget.unit),
            frees_at=None if budget.window == "none" else from_us(refusing.ends_us),
            fits=self.fits(refusing),
        )

    def of_wallet(self, wallet_id: str) -> InsufficientCreditsError:
        """Build the refusal of a wallet, with what it and all windows together would admit."""
        name, unit, asked = self.wallets[wallet_id]
        return InsufficientCreditsError(
            name,
            needed=Money.from_micro(asked, unit),
            available=Money.from_micro(self._available(wallet_id), unit),
            fits=self.fits(),
        )

    def fits(self, refusing: Demand | None = None) -> Money:
        """Return the most that would be admitted now; of several wallets, of the first."""
        wallet_id, (_, unit, asked) = next(iter(self.wallets.items()))
        most = self._available(wallet_id)
        lefts = self._lefts(refusing)
        for demand in self.demands:
            budget = demand.budget
            if budget.mode != "hard":
                continue
            for bound in (lefts[budget.id], budget.ceiling_micro):
                if bound is not None:
                    most = min(most, _in_units_of(bound, demand, unit, asked, most))
        return Money.from_micro(max(most, 0), unit)

    def _lefts(self, refusing: Demand | None) -> dict[str, int]:
        """Return what each budget has left, without what this call itself has taken by now.

        What was asked of the windows before the one that refuses is already counted in them; it
        goes back with the refusal.
        """
        lefts: dict[str, int] = {}
        is_taken = not self.is_question
        for demand in self.demands:
            budget = demand.budget
            is_taken = is_taken and demand is not refusing
            held, spent = self._figures(demand)
            own = demand.amount_micro if is_taken else 0
            lefts[budget.id] = budget.limit_at(self.at_us) - held - spent + own
        return lefts

    def _figures(self, demand: Demand) -> tuple[int, int]:
        """Return what a window holds and has spent, in millionths."""
        window = demand.budget, demand.starts_us, demand.ends_us
        held, spent = window_figures(self.transaction, *window)
        if self.is_question:
            held -= expiry.due_in_window(self.transaction, *window, at_us=self.at_us)
        return held, spent

    def _available(self, wallet_id: str) -> int:
        """Return what a wallet has available, in millionths."""
        available = _available(self.transaction, wallet_id)
        if self.is_question:
            available += expiry.due_of_wallet(self.transaction, wallet_id, at_us=self.at_us)
        return available


def _in_units_of(bound: int, demand: Demand, unit: str, asked: int, most: int) -> int:
    """Return a budget's bound in the wallet's unit; `most` where it bounds nothing there."""
    if demand.budget.unit == unit:
        return bound
    if demand.amount_micro:
        # What counts in another unit is worth the same share of what was asked.
        return bound * asked // demand.amount_micro
    return 0 if bound < 0 else most


def _available(transaction: Transaction, wallet_id: str) -> int:
    row = transaction.row(
        f"SELECT posted_micro - reserved_micro AS available FROM {WALLETS} WHERE id = :id",
        id=wallet_id,
    )
    return int(row["available"]) if row else 0
