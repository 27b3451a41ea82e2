"""Limits: a budget's settings and raises must be those of its events."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from kling_ledger.ledger.engines.transaction import Row, Transaction
from kling_ledger.ledger.ids import to_us
from kling_ledger.ledger.schema import BUDGET
from kling_ledger.ledger.verify.findings import Finding
from kling_pricing.money import Money

_LAW: Final = "a budget is as its events say"
_BUDGETS: Final = (
    f"SELECT {BUDGET.selected}, wallet.name AS wallet FROM budget"
    " LEFT JOIN wallet ON wallet.id = budget.wallet_id ORDER BY budget.id"
)
_SAME: Final = {
    **{name: name for name in ("mode", "thresholds", "unit", "wallet", "project", "provider")},
    **{name: name for name in ("model", "label", "timezone")},
    "window": "repeats",
}
"""The fields of an event, with the budget's column for each."""

Raised = Counter[tuple[int, int]]
"""How often a limit was raised by an amount in millionths, until an instant in microseconds."""


def limit_findings(transaction: Transaction) -> Iterator[Finding]:
    """Compare every budget and its raises with its events."""
    events = transaction.rows(
        "SELECT budget_id, change, created_at FROM budget_event ORDER BY budget_id, step"
    )
    of_budget = {key: list(some) for key, some in groupby(events, itemgetter("budget_id"))}
    raises = _raises(transaction)
    for budget in transaction.rows(_BUDGETS):
        said: dict[str, Any] = {}
        raised: Raised = Counter()
        for event in of_budget.get(budget["id"], ()):
            change = json.loads(event["change"])
            if "raise" in change:
                until_us = to_us(datetime.fromisoformat(change["until"]))
                raised[Money.parse(change["raise"]).micro, until_us] += 1
            elif "removed" in change:
                said["removed_at"] = event["created_at"]
            else:
                said = change
        for problem in _problems(budget, said):
            yield Finding(_LAW, budget["name"], problem)
        if raised != raises.get(budget["id"], Counter()):
            yield Finding(_LAW, budget["name"], "its raises are not those of its events")


def _raises(transaction: Transaction) -> Mapping[str, Raised]:
    found: dict[str, Raised] = {}
    for row in transaction.rows("SELECT budget_id, amount_micro, until_at FROM budget_raise"):
        found.setdefault(row["budget_id"], Counter())[row["amount_micro"], row["until_at"]] += 1
    return found


def _problems(budget: Row, said: Mapping[str, Any]) -> Iterator[str]:
    if "limit" not in said:
        yield "no event says what it was set to"
        return
    ceiling = said.get("ceiling")
    expected: dict[str, Any] = {
        "limit_micro": Money.parse(said["limit"]).micro,
        "ceiling_micro": None if ceiling is None else Money.parse(ceiling).micro,
        "removed_at": said.get("removed_at"),
        **{column: said.get(name) for name, column in _SAME.items()},
    }
    for column, value in expected.items():
        if (budget[column] or None) != (value or None):
            yield f"its {column} is {budget[column]}, its events say {value}"
