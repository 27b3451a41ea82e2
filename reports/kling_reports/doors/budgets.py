"""Budgets: one row is one budget as it stands in its window, or one change of a budget."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

import pandas as pd

from kling_ledger.ledger import budget_history
from kling_ledger.ledger import budgets as budget_words
from kling_ledger.ledger import standing as standings
from kling_ledger.ledger.engines.database import Database
from kling_ledger.ledger.engines.transaction import Row, Transaction
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


CHANGE_KINDS: Final[Mapping[str, Kind]] = {
    "at": "instant",
    "budget": "text",
    "field": "text",
    "from": "text",
    "to": "text",
    "actor": "text",
    "reason": "text",
    "period": "text",
    "removed": "flag",
    "wallet": "text",
    "project": "text",
    "provider": "text",
    "model": "text",
    "labels": "text",
}
"""The columns of changes: who set which field of a budget from what to what (see
budget_history.LimitChange), the month that it counts in, and what the budget covers. `removed` says
that the budget is there no more: another may have its name."""

_EVENTS: Final = (
    "SELECT event.budget_id, event.created_at, event.actor, event.reason, event.change,"
    " event.period, budget.name, budget.removed_at, budget.project, budget.provider, budget.model,"
    " budget.label, wallet.name AS wallet FROM budget_event AS event"
    " JOIN budget ON budget.id = event.budget_id"
    " LEFT JOIN wallet ON wallet.id = budget.wallet_id ORDER BY event.budget_id, event.step"
)


def changes(database: Database) -> pd.DataFrame:
    """Return every change of every budget, removed ones too, oldest first, with CHANGE_KINDS."""
    with database.read() as transaction:
        rows = transaction.rows(_EVENTS)
    found = [
        one for _, own in groupby(rows, itemgetter("budget_id")) for one in _changes(list(own))
    ]
    # Ids of budgets grow with time, and so do the steps of each: what is equally old stays so.
    return frame_of(sorted(found, key=itemgetter("at")), CHANGE_KINDS)


def _changes(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Tell the events of one budget as changes."""
    events = [budget_history.event_of(row) for row in rows]
    periods = {id(event): row["period"] for event, row in zip(events, rows, strict=True)}
    budget = rows[0]
    label = budget["label"]
    for one in budget_history.changes(events):
        yield {
            "at": to_us(one.event.at),
            "budget": budget["name"],
            "field": one.field,
            "from": one.before,
            "to": one.after,
            "actor": one.event.actor,
            "reason": one.event.reason,
            "period": periods[id(one.event)],
            "removed": budget["removed_at"] is not None,
            **{name: budget[name] for name in ("wallet", "project", "provider", "model")},
            "labels": None if label is None else f",{label},",
        }


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
