"""Budgets: how many clips of a plan a budget pays for, in the plan's order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from kling_pricing.errors import AmountError, NoPriceError
from kling_pricing.money import USD, Money
from kling_pricing.plans.plan import Plan, PlannedClip, Unpriced

Measure = Literal["low", "expected", "high"]
MEASURES: Final[tuple[Measure, ...]] = ("low", "expected", "high")


@dataclass(frozen=True, slots=True)
class Fit:
    """How many rows, from the first, fit a budget, and what is left after them.

    `stopped_by` is the first row that does not fit, counted from 1; None if all fit. `reason` is
    set if that row's cost is unknown.
    """

    rows: int
    left: Money
    stopped_by: int | None
    reason: str | None = None


def fits(plan: Plan, budget: Money, *, measure: Measure = "high") -> Fit:
    """Return how many rows of a plan fit a budget, in order; no later row is tried instead.

    The budget is in US dollars or in the one unit of all rows. A row that costs exactly what is
    left fits. Raises AmountError for a budget that is not above zero or in another unit, and
    NoPriceError if the value of a row's unit in US dollars is unknown.
    """
    if budget.amount <= 0:
        raise AmountError("budget", got=str(budget), allowed="an amount above 0")
    left = budget
    for count, row in enumerate(plan.rows):
        cost = _cost(row, budget.unit, measure)
        if isinstance(cost, str):
            return Fit(count, left, row.wanted.place, cost)
        if cost > left:
            return Fit(count, left, row.wanted.place)
        left = left - cost
    return Fit(len(plan.rows), left, None)


def _cost(row: PlannedClip | Unpriced, unit: str, measure: Measure) -> Money | str:
    """Return what a row costs in the budget's unit, or why that is unknown."""
    if isinstance(row, Unpriced):
        return row.error.message
    if row.quote.unit != unit and unit != USD:
        allowed = " or ".join(dict.fromkeys([USD, row.quote.unit]))
        raise AmountError("unit of the budget", got=unit, allowed=allowed)
    cost = row.cost if row.quote.unit == unit else row.usd
    if cost is None:
        raise NoPriceError(f"one {row.quote.unit} in {USD} on {row.quote.at.date()}")
    amount: Money | None = getattr(cost, measure)
    return "what it will come to is known only after the run" if amount is None else amount
