"""The past of budgets: what each has matched so far, and who set or raised it and why."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kling_ledger.ledger.budgets import Budget, every, find_budget
from kling_ledger.ledger.engines.transaction import Transaction
from kling_ledger.ledger.ids import from_us
from kling_ledger.ledger.scopes import Subject, subject_of
from kling_pricing.money import USD, Money


@dataclass(frozen=True, slots=True)
class Matched:
    """How many jobs a budget has ever covered, and what they hold and have cost in its unit."""

    jobs: int
    amount: Money


@dataclass(frozen=True, slots=True)
class BudgetEvent:
    """One change of a budget: what it said from then on, by whom and why."""

    at: datetime
    actor: str
    reason: str | None
    change: Mapping[str, str]


def matched(transaction: Transaction) -> dict[str, Matched]:
    """Return by name what every budget has matched, from the reservations themselves."""
    # One look for all budgets: jobs that no budget could tell apart come as one row.
    groups = [(subject_of(row), row) for row in transaction.rows(_GROUPS)]
    return {budget.name: _of(budget, groups) for budget in every(transaction)}


def history(transaction: Transaction, name: str) -> list[BudgetEvent]:
    """Return the changes of a budget, oldest first; NotFoundError if there is none."""
    rows = transaction.rows(
        "SELECT created_at, actor, reason, change FROM budget_event WHERE budget_id = :id"
        " ORDER BY step",
        id=find_budget(transaction, name).id,
    )
    return [
        BudgetEvent(
            from_us(row["created_at"]), row["actor"], row["reason"], json.loads(row["change"])
        )
        for row in rows
    ]


_GROUPS = (
    "SELECT wallet_id, unit, project, provider, model, labels, COUNT(*) AS jobs,"
    " SUM(usd_held_micro + usd_spent_micro) AS usd,"
    " SUM(held_micro + COALESCE(committed_micro, 0) - refunded_micro) AS own"
    " FROM reservation GROUP BY wallet_id, unit, project, provider, model, labels"
)


def _of(budget: Budget, groups: list[tuple[Subject, Any]]) -> Matched:
    covered = [row for subject, row in groups if budget.covers(subject)]
    column = "usd" if budget.unit == USD else "own"
    micro = sum(int(row[column] or 0) for row in covered)
    return Matched(sum(int(row["jobs"]) for row in covered), Money.from_micro(micro, budget.unit))
