"""Limits: one row is one changed field of a budget."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

import pandas as pd

from kling_ledger.ledger import budget_history
from kling_ledger.ledger.engines.database import Database
from kling_ledger.ledger.engines.transaction import Row
from kling_ledger.ledger.ids import to_us
from kling_reports.frames import frame_of
from kling_reports.report import Kind

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
that the budget no longer exists: another may have its name."""

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
    # Budget ids grow with time, and so do each budget's steps: equally old ones keep their order.
    return frame_of(sorted(found, key=itemgetter("at")), CHANGE_KINDS)


def _changes(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Return the events of one budget as changes."""
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
