"""Standing: how much of a budget's limit one window has spent, holds and has left."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from kling_ledger.ledger import scopes
from kling_ledger.ledger.budgets import Budget
from kling_ledger.ledger.engines.transaction import Transaction
from kling_ledger.ledger.ids import from_us
from kling_ledger.ledger.schema import BUDGET_WINDOW
from kling_ledger.ledger.slots import WINDOWS, Owner, gather_before
from kling_pricing.money import USD, Money, from_micro


@dataclass(frozen=True, slots=True)
class BudgetStatus:
    """A budget and its figures in one window; `limit` includes raises, `left` may be negative.

    `starts_at` and `ends_at` are None for a window that never ends.
    """

    budget: Budget
    starts_at: datetime | None
    ends_at: datetime | None
    limit: Money
    spent: Money
    reserved: Money

    @property
    def left(self) -> Money:
        """What the window would still admit."""
        return Money.exact(
            self.limit.amount - self.spent.amount - self.reserved.amount, self.limit.unit
        )


def status(transaction: Transaction, budget: Budget, at_us: int) -> BudgetStatus:
    """Return a budget's figures in the window that holds an instant."""
    starts_us, ends_us = budget.window_at(at_us)
    held, spent = window_figures(transaction, budget, starts_us, ends_us)
    is_endless = budget.window == "none"
    return BudgetStatus(
        budget=budget,
        starts_at=None if is_endless else from_us(starts_us),
        ends_at=None if is_endless else from_us(ends_us),
        limit=_sum(budget.limit_at(at_us), budget.unit),
        spent=_sum(spent, budget.unit),
        reserved=_sum(held, budget.unit),
    )


def _sum(micro: int, unit: str) -> Money:
    """Return an amount that may exceed what one wallet can hold: it covers many."""
    return Money.exact(from_micro(micro), unit)


def window_figures(
    transaction: Transaction, budget: Budget, starts_us: int, ends_us: int
) -> tuple[int, int]:
    """Return what a window holds and has spent, in millionths, whether it has a row or not."""
    row = transaction.row(
        f"SELECT held_micro, spent_micro FROM {WINDOWS}"
        " WHERE budget_id = :budget AND starts_at = :starts",
        budget=budget.id,
        starts=starts_us,
    )
    if row is None:
        # A window gets its row with its first admission; jobs from before the budget count too.
        return counted(transaction, budget, starts_us, ends_us)
    return int(row["held_micro"]), int(row["spent_micro"])


def is_opened(transaction: Transaction, budget: Budget, starts_us: int) -> bool:
    """Whether a window has a row, with sums of its own."""
    row = transaction.row(
        "SELECT 1 AS is_there FROM budget_window WHERE budget_id = :budget AND starts_at = :starts",
        budget=budget.id,
        starts=starts_us,
    )
    return row is not None


def open_window(transaction: Transaction, budget: Budget, starts_us: int, ends_us: int) -> bool:
    """Create the row of a window, with what it has counted so far; False if it exists."""
    if is_opened(transaction, budget, starts_us):
        return False
    held, spent = counted(transaction, budget, starts_us, ends_us)
    window = {
        "budget_id": budget.id,
        "starts_at": starts_us,
        "ends_at": ends_us,
        "held_micro": held,
        "spent_micro": spent,
        "shared_to_micro": None,
    }
    transaction.insert(BUDGET_WINDOW, [window])
    gather_before(transaction, Owner(budget.id, starts_us))
    return True


def counted(
    transaction: Transaction, budget: Budget, starts_us: int, ends_us: int
) -> tuple[int, int]:
    """Compute what a window holds and has spent from the reservations themselves."""
    condition, values = scopes.condition(budget.scope, wallet_id=budget.wallet_id, unit=budget.unit)
    if budget.unit == USD:
        held, spent = "usd_held_micro", "usd_spent_micro"
    else:
        held, spent = "held_micro", "COALESCE(committed_micro, 0) - refunded_micro"
    source = "reservation"
    if budget.scope.label is not None:
        # Look up jobs by their label: a new run of few jobs must not read all jobs.
        source = "reservation_label AS labelled CROSS JOIN reservation"
        condition = (
            "reservation.id = labelled.reservation_id AND labelled.label = :labelled"
            f" AND {condition}"
        )
        values["labelled"] = budget.scope.label
    row = transaction.row(
        f"SELECT COALESCE(SUM({held}), 0) AS held, COALESCE(SUM({spent}), 0) AS spent"
        f" FROM {source} WHERE {condition}"
        " AND reservation.created_at >= :starts AND reservation.created_at < :ends",
        starts=starts_us,
        ends=ends_us,
        **values,
    )
    return (int(row["held"]), int(row["spent"])) if row else (0, 0)
