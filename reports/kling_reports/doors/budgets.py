"""Budgets: one row is one budget, in the state of its window at an instant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import pandas as pd

from kling_ledger.ledger import budget_history
from kling_ledger.ledger import budgets as budget_words
from kling_ledger.ledger import standing as standings
from kling_ledger.ledger.budget_history import BudgetEvent
from kling_ledger.ledger.engines.database import Database
from kling_ledger.ledger.engines.transaction import Transaction
from kling_ledger.ledger.ids import to_us
from kling_ledger.ledger.scopes import Scope
from kling_ledger.ledger.standing import BudgetStatus
from kling_reports.doors.out_since import out_since
from kling_reports.doors.windows import Jobs, covered, jobs_in
from kling_reports.frames import frame_of
from kling_reports.report import Kind, Span

BUDGET_KINDS: Final[Mapping[str, Kind]] = {
    "budget": "text",
    "covers": "text",
    "mode": "text",
    "window": "text",
    "timezone": "text",
    "unit": "text",
    "limit_micro": "money",
    "base_limit_micro": "money",
    "spent_micro": "money",
    "reserved_micro": "money",
    "begins_at": "instant",
    "ends_at": "instant",
    "jobs": "integer",
    "out_since": "instant",
    "changed_at": "instant",
    "changed_by": "text",
    "change": "text",
    "change_reason": "text",
}
"""The columns of budgets. `begins_at` of a budget without a window is when its first job was
reserved, missing if there is none; `ends_at` is the first instant outside. `jobs` counts those that
cost or hold something in the window. `out_since` is when nothing was left any more; it is missing
if something is left, or if the journal does not show it. The last four columns are the budget's
last change."""


def standing(database: Database, *, at: datetime) -> pd.DataFrame:
    """Return every budget by name, in the state of its window at an instant."""
    with database.read() as transaction:
        known = sorted(budget_words.every(transaction), key=lambda budget: budget.name)
        stands = [standings.status(transaction, one, to_us(at)) for one in known]
        # Budgets with the same window share one look at its jobs; without a window, at all jobs.
        spans = {Span(one.starts_at, one.ends_at) for one in stands}
        jobs = {span: jobs_in(transaction, span) for span in spans}
        rows = [
            _row(transaction, one, jobs[Span(one.starts_at, one.ends_at)], to_us(at))
            for one in stands
        ]
    return frame_of(rows, BUDGET_KINDS)


def _row(
    transaction: Transaction, stands: BudgetStatus, jobs: Sequence[Jobs], now_us: int
) -> dict[str, Any]:
    budget, own = stands.budget, covered(stands.budget, jobs)
    begins = (
        to_us(stands.starts_at)
        if stands.starts_at
        else min((one.first_us for one in own), default=None)
    )
    events = _events_of(transaction, budget.id)
    return {
        "budget": budget.name,
        "covers": _covers(budget.scope),
        "mode": budget.mode,
        "window": budget.window,
        "timezone": budget.timezone,
        "unit": budget.unit,
        "limit_micro": stands.limit.micro,
        "base_limit_micro": budget.limit_micro,
        "spent_micro": stands.spent.micro,
        "reserved_micro": stands.reserved.micro,
        "begins_at": begins,
        "ends_at": None if stands.ends_at is None else to_us(stands.ends_at),
        "jobs": sum(one.count for one in own),
        "out_since": out_since(transaction, stands, events, now_us=now_us),
        **_last_change(events),
    }


def _events_of(transaction: Transaction, budget_id: str) -> list[BudgetEvent]:
    rows = transaction.rows(
        "SELECT created_at, actor, reason, change FROM budget_event WHERE budget_id = :id"
        " ORDER BY step",
        id=budget_id,
    )
    return [budget_history.event_of(row) for row in rows]


def _last_change(events: Sequence[BudgetEvent]) -> dict[str, Any]:
    """Return who last changed a budget and how; all missing if that was not recorded."""
    if not events:
        return dict.fromkeys(("changed_at", "changed_by", "change", "change_reason"))
    last = events[-1]
    told = [one for one in budget_history.changes(events) if one.event is last]
    fields = [f"{one.field}: {one.before or 'none'} -> {one.after or 'none'}" for one in told]
    return {
        "changed_at": to_us(last.at),
        "changed_by": last.actor,
        "change": "set" if len(events) == 1 else ", ".join(fields),
        "change_reason": last.reason,
    }


def _covers(scope: Scope) -> str:
    parts = {name: getattr(scope, name) for name in Scope.__slots__}
    return ", ".join(f"{name} {text}" for name, text in parts.items() if text) or "all"
