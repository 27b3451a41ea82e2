"""Demands: what the jobs of one call ask together of one window of a budget."""

from __future__ import annotations

from dataclasses import dataclass

from kling_ledger.ledger.budgets import Budget


@dataclass(frozen=True, slots=True)
class Demand:
    """What the jobs of one call take together from one window of a budget, and each of them."""

    budget: Budget
    starts_us: int
    ends_us: int
    jobs: tuple[tuple[str, int], ...]
    amount_micro: int
