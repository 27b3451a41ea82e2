"""Refusals: builds the refusal of a window or a wallet, with what would fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kling_ledger.errors import BudgetError, InsufficientCreditsError
from kling_ledger.ledger.demands import Demand, WalletDemand
from kling_ledger.ledger.figures import Figures
from kling_ledger.ledger.ids import from_us
from kling_pricing.money import Money


@dataclass(frozen=True, slots=True)
class Refusals:
    """What one call asks of windows and wallets, for the one that refuses.

    Windows are asked in the order of `demands`, then wallets by id. `has_taken`: the figures
    already include what the call has taken from those before the one that refuses.
    """

    figures: Figures
    demands: Sequence[Demand]
    wallets: Mapping[str, WalletDemand]
    at_us: int
    has_taken: bool = False

    def first(self) -> BudgetError | InsufficientCreditsError | None:
        """Return the first refusal by the current figures; None if everything admits."""
        for demand in self.demands:
            limit = demand.budget.limit_at(self.at_us)
            is_over = sum(self.figures.window(demand)) + demand.amount_micro > limit
            if demand.budget.mode == "hard" and is_over:
                return self.of_window(demand)
        for wallet_id in sorted(self.wallets):
            if self.figures.available(wallet_id) < self.wallets[wallet_id][2]:
                return self.of_wallet(wallet_id)
        return None

    def of_window(self, refusing: Demand) -> BudgetError:
        """Build the refusal of a window, with what all windows and the wallet would admit."""
        budget = refusing.budget
        held, spent = self.figures.window(refusing)
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
            available=Money.from_micro(self.figures.available(wallet_id), unit),
            fits=self.fits(refusing_wallet=wallet_id),
        )

    def fits(self, refusing: Demand | None = None, *, refusing_wallet: str = "") -> Money:
        """Return the most that would be admitted now, from the first of several wallets."""
        wallet_id, (_, unit, asked) = next(iter(self.wallets.items()))
        most = self.figures.available(wallet_id)
        if self.has_taken and wallet_id < refusing_wallet:
            # It was taken before the refusal, which returns it.
            most += asked
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
        """Return what each budget has left, without what this call has already taken.

        The windows before the one that refuses already count this call; the refusal returns that.
        """
        lefts: dict[str, int] = {}
        is_taken = self.has_taken
        for demand in self.demands:
            budget = demand.budget
            is_taken = is_taken and demand is not refusing
            held, spent = self.figures.window(demand)
            own = demand.amount_micro if is_taken else 0
            lefts[budget.id] = budget.limit_at(self.at_us) - held - spent + own
        return lefts


def _in_units_of(bound: int, demand: Demand, unit: str, asked: int, most: int) -> int:
    """Return a budget's bound in the wallet's unit; `most` if it sets no bound there."""
    if demand.budget.unit == unit:
        return bound
    if demand.amount_micro:
        # Amounts in another unit are converted at the ratio of what was asked.
        return bound * asked // demand.amount_micro
    return 0 if bound < 0 else most
