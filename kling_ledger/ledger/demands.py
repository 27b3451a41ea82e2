"""Demands: what the jobs of one call ask together of one window of a budget."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kling_ledger.errors import CeilingError, UnknownWorthError
from kling_ledger.ledger.budgets import Budget
from kling_ledger.ledger.engines.transaction import Row
from kling_ledger.ledger.rules import Rules
from kling_ledger.ledger.scopes import Subject
from kling_pricing.money import USD, Money


@dataclass(frozen=True, slots=True)
class Admitted:
    """A reservation that is about to be written, and what budgets look at in it."""

    row: Row
    wallet_name: str
    subject: Subject


@dataclass(frozen=True, slots=True)
class Demand:
    """What the jobs of one call take together from one window of a budget, and each of them."""

    budget: Budget
    starts_us: int
    ends_us: int
    jobs: tuple[tuple[str, int], ...]
    amount_micro: int


def demands_of(rules: Rules, admitted: Iterable[Admitted], at_us: int) -> list[Demand]:
    """Add up what the jobs take from each budget; a single job must fit under its ceiling."""
    if not rules.budgets:
        return []
    jobs: dict[str, list[tuple[str, int]]] = {}
    for one in admitted:
        for budget in rules.covering(one.subject):
            amount = _worth(one, budget)
            if budget.ceiling_micro is not None and amount > budget.ceiling_micro:
                raise CeilingError(
                    cost=Money.from_micro(amount, budget.unit),
                    ceiling=Money.from_micro(budget.ceiling_micro, budget.unit),
                    budget=budget.name,
                )
            jobs.setdefault(budget.id, []).append((one.row["id"], amount))
    return [
        Demand(
            budget,
            *budget.window_at(at_us),
            tuple(jobs[budget.id]),
            sum(amount for _, amount in jobs[budget.id]),
        )
        for budget in rules.budgets
        if budget.id in jobs
    ]


def _worth(one: Admitted, budget: Budget) -> int:
    """Return what a job counts for in a budget's unit; unknown is an error, never zero."""
    micro: int | None = one.row["usd_micro"] if budget.unit == USD else one.row["reserved_micro"]
    if micro is None:
        asked = Money.from_micro(one.row["reserved_micro"], one.subject.unit)
        raise UnknownWorthError(budget.name, asked=asked, unit=budget.unit)
    return micro
