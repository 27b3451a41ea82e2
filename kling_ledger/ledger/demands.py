"""Demands: what the jobs of one call take together from one window of a budget."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NoReturn

from kling_ledger.errors import CeilingError, RefusedError, UnknownWorthError
from kling_ledger.ledger.budgets import Budget
from kling_ledger.ledger.rules import Rules
from kling_ledger.ledger.scopes import Subject
from kling_pricing.money import USD, Money


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one job would take, and what budgets look at in it.

    `reservation_id` is empty if the job is only being decided; `usd_micro` is None if unknown.
    """

    reservation_id: str
    wallet_name: str
    subject: Subject
    amount_micro: int
    usd_micro: int | None


@dataclass(frozen=True, slots=True)
class Demand:
    """What the jobs of one call take from one window of a budget, together and each.

    A job is its id, the amount that it counts for (None if unknown), and the amount asked for it.
    """

    budget: Budget
    starts_us: int
    ends_us: int
    jobs: tuple[tuple[str, int | None, Money], ...]
    amount_micro: int


WalletDemand = tuple[str, str, int]
"""What the jobs of one call take from a wallet: its name, its unit, and the millionths."""


def _raised(refusal: RefusedError) -> NoReturn:
    raise refusal


def demands_of(
    rules: Rules,
    wanted: Iterable[Wanted],
    at_us: int,
    *,
    refuse: Callable[[RefusedError], object] = _raised,
) -> list[Demand]:
    """Add up what the jobs take from each budget; each job must fit a hard budget by itself.

    A job that does not is passed to `refuse`, which by default raises it.
    """
    if not rules.budgets:
        return []
    jobs: dict[str, list[tuple[str, int | None, Money]]] = {}
    for one in wanted:
        for budget in rules.covering(one.subject):
            amount = one.usd_micro if budget.unit == USD else one.amount_micro
            asked = Money.from_micro(one.amount_micro, one.subject.unit)
            refusal = _why_not(budget, amount, asked)
            if refusal is not None:
                refuse(refusal)
            jobs.setdefault(budget.id, []).append((one.reservation_id, amount, asked))
    return [
        Demand(
            budget,
            *budget.window_at(at_us),
            tuple(jobs[budget.id]),
            sum(amount or 0 for _, amount, _ in jobs[budget.id]),
        )
        for budget in rules.budgets
        if budget.id in jobs
    ]


def wallet_demands_of(wanted: Iterable[Wanted]) -> dict[str, WalletDemand]:
    """Add up what the jobs take from each wallet, by its id, in the order of the jobs."""
    demands: dict[str, WalletDemand] = {}
    for one in wanted:
        wallet_id, unit = one.subject.wallet_id, one.subject.unit
        _, _, sum_micro = demands.get(wallet_id, ("", "", 0))
        demands[wallet_id] = (one.wallet_name, unit, sum_micro + one.amount_micro)
    return demands


def _why_not(budget: Budget, amount_micro: int | None, asked: Money) -> RefusedError | None:
    """Say why a job cannot fit a hard budget by itself: an unknown value is never zero."""
    if budget.mode != "hard":
        return None
    if amount_micro is None:
        return UnknownWorthError(budget.name, asked=asked, unit=budget.unit)
    if budget.ceiling_micro is None or amount_micro <= budget.ceiling_micro:
        return None
    return CeilingError(
        cost=Money.from_micro(amount_micro, budget.unit),
        ceiling=Money.from_micro(budget.ceiling_micro, budget.unit),
        budget=budget.name,
    )
