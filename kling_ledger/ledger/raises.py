"""Raises: a budget's limit is raised for a time, with a reason; the raise ends by itself."""

from __future__ import annotations

from datetime import UTC, datetime

from kling_ledger.errors import ConfigError
from kling_ledger.ledger import idempotency, rules
from kling_ledger.ledger.budgets import Budget, find_budget
from kling_ledger.ledger.engines.transaction import Stamp, Transaction
from kling_ledger.ledger.ids import new_id, numbers, to_us
from kling_ledger.ledger.limits import record
from kling_ledger.ledger.schema import BUDGET_RAISE
from kling_ledger.ledger.standing import BudgetStatus, status
from kling_pricing.errors import AmountError
from kling_pricing.money import Money


def raise_limit(
    transaction: Transaction,
    name: str,
    amount: Money,
    *,
    until: datetime,
    key: str | None,
    stamp: Stamp,
) -> BudgetStatus:
    """Raise a budget's limit for a time, once per key; the raise ends by itself."""
    transaction.be_alone()
    budget = find_budget(transaction, name)
    content = {
        "operation": "raise",
        "budget": budget.id,
        "amount": str(amount),
        "until": until.astimezone(UTC).isoformat(),
    }
    if idempotency.earlier_result(transaction, key, content) is not None:
        return status(transaction, budget, stamp.at_us)
    _check(budget, amount, until, stamp)
    raise_id = new_id("rse", next(numbers(stamp.at_us, stamp.chance)))
    row = {
        "id": raise_id,
        "budget_id": budget.id,
        "amount_micro": amount.micro,
        "until_at": to_us(until),
        "actor": stamp.actor,
        "reason": stamp.reason,
        "created_at": stamp.at_us,
    }
    transaction.insert(BUDGET_RAISE, [row])
    idempotency.remember(
        transaction,
        key,
        content,
        result_id=raise_id,
        at_us=stamp.at_us,
        period=rules.posting_month(transaction, stamp.at_us),
    )
    record(transaction, budget.id, {"raise": str(amount), "until": until.isoformat()}, stamp)
    return status(transaction, find_budget(transaction, name), stamp.at_us)


def _check(budget: Budget, amount: Money, until: datetime, stamp: Stamp) -> None:
    if not isinstance(amount, Money):
        raise AmountError("raise", got=amount, allowed="Money, such as Money.parse('5 USD')")
    if amount.unit != budget.unit:
        raise AmountError("unit", got=amount.unit, allowed=budget.unit)
    if amount.micro <= 0:
        raise AmountError("raise", got=str(amount), allowed="more than 0")
    if not (stamp.reason or "").strip():
        raise ConfigError("a raise needs a reason", hint="give a reason; the journal keeps it")
    if to_us(until) <= stamp.at_us:
        raise ConfigError(
            f"the raise would end at {until:%Y-%m-%d %H:%M %Z}, which has passed",
            hint="use a time in the future",
        )
