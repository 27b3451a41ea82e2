"""Budgets: one row is one budget, as it stands in its window at an instant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import pandas as pd

from kling_ledger.ledger import budgets as budget_words
from kling_ledger.ledger import standing as standings
from kling_ledger.ledger.engines.database import Database
from kling_ledger.ledger.engines.transaction import Transaction
from kling_ledger.ledger.ids import to_us
from kling_ledger.ledger.scopes import Scope, Subject
from kling_ledger.ledger.standing import BudgetStatus
from kling_reports.frames import frame_of
from kling_reports.report import Kind

BUDGET_KINDS: Final[Mapping[str, Kind]] = {
    "budget": "text",
    "covers": "text",
    "mode": "text",
    "window": "text",
    "timezone": "text",
    "unit": "text",
    "limit_micro": "money",
    "spent_micro": "money",
    "reserved_micro": "money",
    "begins_at": "instant",
    "ends_at": "instant",
}
"""The columns of budgets. `begins_at` of a budget that never begins anew is when the first job that
it covers was reserved, missing where there is none; `ends_at` is the first instant outside."""


def standing(database: Database, *, at: datetime) -> pd.DataFrame:
    """Return every budget by name, as it stands in its window at an instant."""
    with database.read() as transaction:
        known = sorted(budget_words.every(transaction), key=lambda budget: budget.name)
        stands = [standings.status(transaction, one, to_us(at)) for one in known]
        # This reads every reservation: only for the budgets that have no window to begin in.
        firsts = _first_jobs(transaction) if any(one.window == "none" for one in known) else []
    return frame_of([_row(one, firsts) for one in stands], BUDGET_KINDS)


def _row(stands: BudgetStatus, firsts: Sequence[tuple[Subject, int]]) -> dict[str, Any]:
    budget = stands.budget
    covered = [first for subject, first in firsts if budget.covers(subject)]
    begins = to_us(stands.starts_at) if stands.starts_at else min(covered, default=None)
    return {
        "budget": budget.name,
        "covers": _covers(budget.scope),
        "mode": budget.mode,
        "window": budget.window,
        "timezone": budget.timezone,
        "unit": budget.unit,
        "limit_micro": stands.limit.micro,
        "spent_micro": stands.spent.micro,
        "reserved_micro": stands.reserved.micro,
        "begins_at": begins,
        "ends_at": None if stands.ends_at is None else to_us(stands.ends_at),
    }


def _covers(scope: Scope) -> str:
    parts = {name: getattr(scope, name) for name in Scope.__slots__}
    return ", ".join(f"{name} {text}" for name, text in parts.items() if text) or "all"


def _first_jobs(transaction: Transaction) -> list[tuple[Subject, int]]:
    """Return when the first job was reserved of each kind that a budget can tell apart."""
    columns = ", ".join(Subject.__slots__)
    rows = transaction.rows(
        f"SELECT {columns}, MIN(created_at) AS first_at FROM reservation GROUP BY {columns}"
    )
    return [
        (Subject(*(row[name] for name in Subject.__slots__)), int(row["first_at"])) for row in rows
    ]
