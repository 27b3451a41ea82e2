"""Thresholds: a budget warns when its use passes a percentage of its limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kling_ledger.ledger.demands import Demand
from kling_ledger.ledger.engines.transaction import Row
from kling_pricing.money import Money


@dataclass(frozen=True, slots=True)
class BudgetWarning:
    """A budget whose use has just passed one of its thresholds, in percent of its limit.

    Or, in `note`, what a budget in `warn` mode says about a single job.
    """

    budget: str
    threshold: int
    used: Money
    limit: Money
    note: str | None = None

    def __str__(self) -> str:
        if self.note is not None:
            return f"budget {self.budget}: {self.note}"
        return f"budget {self.budget} has passed {self.threshold} %: {self.used} of {self.limit}"


class Warnings:
    """Tells which job of a call took which budget past a threshold, as if they came one by one."""

    def __init__(
        self, demands: Sequence[Demand], figures: Sequence[Sequence[Row]], at_us: int
    ) -> None:
        self._by_job: dict[str, list[BudgetWarning]] = {}
        for demand, rows in zip(demands, figures, strict=True):
            limit = demand.budget.limit_at(at_us)
            # No warning if a slot admitted, which never passes a threshold, or if the answer was
            # lost.
            if rows and demand.budget.thresholds:
                self._add(demand, int(rows[0]["used"]), limit)
            if demand.budget.mode == "warn":
                self._note(demand, limit)

    def of(self, reservation_id: str) -> tuple[BudgetWarning, ...]:
        """Return the warnings of one job, in the order of its budgets."""
        return tuple(self._by_job.get(reservation_id, ())) if self._by_job else ()

    def _add(self, demand: Demand, used: int, limit: int) -> None:
        before = used - demand.amount_micro
        # Most calls pass no threshold: one check of their sum saves checking each job.
        if not any(before * 100 < one * limit <= used * 100 for one in demand.budget.thresholds):
            return
        for job_id, amount, _ in demand.jobs:
            after = before + (amount or 0)
            for one in demand.budget.thresholds:
                if before * 100 < one * limit <= after * 100:
                    warning = BudgetWarning(
                        demand.budget.name,
                        one,
                        Money.from_micro(after, demand.budget.unit),
                        Money.from_micro(limit, demand.budget.unit),
                    )
                    self._by_job.setdefault(job_id, []).append(warning)
            before = after

    def _note(self, demand: Demand, limit: int) -> None:
        """Note why a hard budget would refuse each job, whatever its window has left."""
        budget = demand.budget
        for job_id, amount, asked in demand.jobs:
            if amount is None:
                note = f"the value of {asked} in {budget.unit} is unknown, so it is not counted"
            elif budget.ceiling is not None and amount > budget.ceiling.micro:
                note = f"one job of {asked} exceeds its ceiling of {budget.ceiling}"
            else:
                continue
            used = Money.from_micro(amount or 0, budget.unit)
            warning = BudgetWarning(
                budget.name, 100, used, Money.from_micro(limit, budget.unit), note
            )
            self._by_job.setdefault(job_id, []).append(warning)
