"""Refusals: admission said no. Nothing was changed and nothing was sent."""

from __future__ import annotations

from datetime import datetime

from kling_ledger.errors.ledger import LedgerError
from kling_pricing.money import Money, plain


class RefusedError(LedgerError):
    """Admission was refused: nothing was changed and nothing was sent."""

    code = "refused"


class InsufficientCreditsError(RefusedError):
    """The wallet holds less than the job needs; `fits` is the most that would be admitted."""

    code = "insufficient_credits"

    def __init__(
        self, wallet: str, *, needed: Money, available: Money, fits: Money | None = None
    ) -> None:
        # Written out: what is short may be more than a single amount of money can be.
        short = f"{plain(needed.amount - available.amount)} {needed.unit}"
        super().__init__(
            f"wallet {wallet}: needed {needed}, available {available}, short by {short}",
            hint=f"fund it with {short}",
        )
        self.wallet = wallet
        self.needed = needed
        self.available = available
        self.short = short
        self.fits = available if fits is None else fits


class BudgetError(RefusedError):
    """A budget's window has less left than the job needs.

    `limit` counts raises that are in force; `left` is below zero where a job cost more than was
    reserved; `frees_at` is when the window ends, None for one that never does; `fits` is the most
    that wallet and all budgets together would admit now, in the unit of the job.
    """

    code = "budget"

    def __init__(
        self,
        budget: str,
        *,
        limit: Money,
        spent: Money,
        reserved: Money,
        asked: Money,
        frees_at: datetime | None,
        fits: Money,
    ) -> None:
        left = limit - spent - reserved
        until = f", frees at {frees_at:%Y-%m-%d %H:%M} UTC" if frees_at else ""
        super().__init__(
            f"budget {budget}: limit {limit}, spent {spent}, reserved {reserved},"
            f" asked {asked}, left {left}{until}",
            hint=f"{_would_fit(fits)}; or raise it for a time",
        )
        self.budget = budget
        self.limit = limit
        self.spent = spent
        self.reserved = reserved
        self.asked = asked
        self.left = left
        self.frees_at = frees_at
        self.fits = fits


class CeilingError(RefusedError):
    """The job costs more than a single job may: by the caller's own word, or by a budget's."""

    code = "ceiling"

    def __init__(self, *, cost: Money, ceiling: Money, budget: str | None = None) -> None:
        of = f" of budget {budget}" if budget else ""
        super().__init__(
            f"the job costs {cost}, more than the ceiling{of} of {ceiling}",
            hint=f"ask for fewer seconds, a lower resolution or no sound, or raise the ceiling{of}",
        )
        self.cost = cost
        self.ceiling = ceiling
        self.budget = budget
        self.fits = ceiling


class TotalError(RefusedError):
    """The jobs of a batch cost more than they may in all."""

    code = "total"

    def __init__(self, *, cost: Money, most: Money) -> None:
        super().__init__(
            f"the batch costs {cost}, more than its most of {most}",
            hint="run fewer rows, or raise the limit",
        )
        self.cost = cost
        self.most = most
        self.fits = most


class UnknownWorthError(RefusedError):
    """A budget counts in US dollars and nobody knows what the job is worth in them."""

    code = "unknown_worth"

    def __init__(self, budget: str, *, asked: Money, unit: str) -> None:
        super().__init__(
            f"budget {budget} counts {unit}, and what {asked} are worth in it is not known",
            hint="reserve from a quote, which carries its amount in USD, or limit the unit itself",
        )
        self.budget = budget
        self.asked = asked
        self.unit = unit


def _would_fit(fits: Money) -> str:
    return f"up to {fits} would be admitted now" if fits.amount > 0 else "nothing fits now"
