"""The past of budgets: what each has matched so far, and who changed which limit, and why.

A budget's events say what it was set to, how it was temporarily raised, or that it was removed.
Here each is reported as changes of single fields.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kling_ledger.errors import NotFoundError
from kling_ledger.ledger.budgets import Budget, every, find_budget
from kling_ledger.ledger.engines.transaction import Transaction, plain
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
    """One change of a budget: its new settings, by whom and why."""

    at: datetime
    actor: str
    reason: str | None
    change: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class BudgetPast:
    """The changes of one budget, oldest first; `removed_at` is None while it exists."""

    budget_id: str
    removed_at: datetime | None
    events: Sequence[BudgetEvent]


@dataclass(frozen=True, slots=True)
class LimitChange:
    """One changed field of a budget, before and after; None if it has no value.

    `field` is a setting (`limit`, `ceiling`, `mode`, `thresholds`, and for a new budget its scope
    and window), `raise until INSTANT`, or `removed`. The last two show the limit in force before
    and after.
    """

    event: BudgetEvent
    field: str
    before: str | None
    after: str | None


def changes(events: Iterable[BudgetEvent]) -> Iterator[LimitChange]:
    """Yield what each event of one budget changed; give the events oldest first."""
    set_to: dict[str, str] = {}
    raises: list[tuple[datetime, Money]] = []
    for event in events:
        raises = [one for one in raises if event.at < one[0]]
        if "raise" in event.change:
            until = datetime.fromisoformat(event.change["until"])
            before = _in_force(set_to, raises)
            raises.append((until, Money.parse(event.change["raise"])))
            field = f"raise until {until.astimezone(UTC).isoformat(timespec='seconds')}"
            yield LimitChange(event, field, before, _in_force(set_to, raises))
        elif "removed" in event.change:
            yield LimitChange(event, "removed", _in_force(set_to, raises), None)
        else:
            told = {name: text for name, text in event.change.items() if name != "unit"}
            for field in (*told, *(name for name in set_to if name not in told)):
                if set_to.get(field) != told.get(field):
                    yield LimitChange(event, field, set_to.get(field), told.get(field))
            set_to = told


def _in_force(set_to: Mapping[str, str], raises: Iterable[tuple[datetime, Money]]) -> str:
    """Return the limit with its raises; it may exceed what one wallet can hold."""
    limit = Money.parse(set_to["limit"])
    whole = sum((more.amount for _, more in raises), start=limit.amount)
    return str(Money.exact(whole, limit.unit))


def matched(transaction: Transaction) -> dict[str, Matched]:
    """Return what every budget has matched, by name, computed from the reservations."""
    # One query for all budgets: jobs that no budget distinguishes share a row.
    groups = [(subject_of(row), row) for row in transaction.rows(_GROUPS)]
    return {budget.name: _of(budget, groups) for budget in every(transaction)}


def history(transaction: Transaction, name: str) -> list[BudgetEvent]:
    """Return the changes of a budget, oldest first; NotFoundError if there is none."""
    rows = transaction.rows(_EVENTS, id=find_budget(transaction, name).id)
    return [event_of(row) for row in rows]


def pasts(transaction: Transaction, name: str) -> list[BudgetPast]:
    """Return every budget that ever had a name, oldest first. Raises NotFoundError."""
    known = transaction.rows(
        "SELECT id, removed_at FROM budget WHERE name = :name ORDER BY created_at, id",
        name=plain(name),
    )
    if not known:
        names = transaction.rows("SELECT DISTINCT name FROM budget ORDER BY name")
        raise NotFoundError("budget", name, known=[row["name"] for row in names])
    return [
        BudgetPast(
            row["id"],
            None if row["removed_at"] is None else from_us(row["removed_at"]),
            [event_of(one) for one in transaction.rows(_EVENTS, id=row["id"])],
        )
        for row in known
    ]


def event_of(row: Mapping[str, Any]) -> BudgetEvent:
    """Return an event from its row."""
    return BudgetEvent(
        from_us(row["created_at"]), row["actor"], row["reason"], json.loads(row["change"])
    )


_EVENTS = (
    "SELECT created_at, actor, reason, change FROM budget_event WHERE budget_id = :id ORDER BY step"
)
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
