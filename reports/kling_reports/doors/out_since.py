"""Out since: when a budget ran out, from the journal and the changes of its limit.

A budget is used by what its jobs hold and cost, and each such step is a transfer. So the journal
shows when nothing was left, with one exception: a budget in US dollars counts jobs in other units
at their value, which is not in the journal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from kling_ledger.ledger import scopes
from kling_ledger.ledger.budget_history import BudgetEvent
from kling_ledger.ledger.budgets import Budget
from kling_ledger.ledger.engines.transaction import Transaction
from kling_ledger.ledger.ids import to_us
from kling_ledger.ledger.standing import BudgetStatus
from kling_pricing.money import Money

_MORE: Final = ("reserve", "reopen", "overrun", "late_commit")
_LESS: Final = ("return", "roll_back", "expire", "refund")
"""The kinds of transfers that change how much of a budget is used. A commit only moves what was
reserved to what is spent: the use stays the same."""


@dataclass(frozen=True, slots=True)
class _Step:
    """What happened at an instant: more or less is used, or the limit changed by an amount."""

    at_us: int
    used: int
    limit: int


def out_since(
    transaction: Transaction, stands: BudgetStatus, events: Sequence[BudgetEvent], *, now_us: int
) -> int | None:
    """Return since when nothing is left, in microseconds; None if something is left.

    None too if the journal does not show it: its sum must equal the budget's own.
    """
    if stands.left.amount > 0:
        return None
    budget = stands.budget
    begins_us, ends_us = budget.window_at(now_us)
    moves = list(_moves(transaction, budget, begins_us, ends_us))
    limits = list(_limits(events, now_us))
    steps = sorted([*moves, *limits], key=lambda step: step.at_us)
    used, limit, since = 0, 0, None
    for place, step in enumerate(steps):
        used, limit = used + step.used, limit + step.limit
        # Everything at one instant counts as one step: a removal and a new limit, or the end of a
        # raise.
        if place + 1 < len(steps) and steps[place + 1].at_us == step.at_us:
            continue
        if used < limit:
            since = None
        elif since is None:
            since = max(step.at_us, begins_us, to_us(events[0].at))
    agrees = (used, limit) == (stands.spent.micro + stands.reserved.micro, stands.limit.micro)
    return since if agrees else None


def _moves(
    transaction: Transaction, budget: Budget, begins_us: int, ends_us: int
) -> Iterator[_Step]:
    condition, values = scopes.condition(budget.scope, wallet_id=budget.wallet_id, unit=budget.unit)
    kinds = ", ".join(f"'{kind}'" for kind in (*_MORE, *_LESS))
    rows = transaction.rows(
        f"SELECT created_at, kind, amount_micro FROM transfer WHERE kind IN ({kinds})"
        f" AND reservation_id IN (SELECT id FROM reservation WHERE {condition}"
        " AND created_at >= :begins AND created_at < :ends) ORDER BY transfer.id",
        begins=begins_us,
        ends=ends_us,
        **values,
    )
    for row in rows:
        sign = 1 if row["kind"] in _MORE else -1
        yield _Step(int(row["created_at"]), sign * int(row["amount_micro"]), 0)


def _limits(events: Iterable[BudgetEvent], now_us: int) -> Iterator[_Step]:
    """Return the changes of the limit, including the ends of raises.

    The first limit counts from the beginning: jobs from before the budget was set count against it.
    """
    base: int | None = None
    for event in events:
        if "limit" in event.change:
            limit = Money.parse(event.change["limit"]).micro
            yield _Step(0 if base is None else to_us(event.at), 0, limit - (base or 0))
            base = limit
        elif "raise" in event.change:
            more = Money.parse(event.change["raise"]).micro
            until_us = to_us(datetime.fromisoformat(event.change["until"]))
            yield _Step(to_us(event.at), 0, more)
            if until_us <= now_us:
                yield _Step(until_us, 0, -more)
