"""Limits: set a budget, raise it for a time, remove it; each change is recorded."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from kling_ledger.errors import ConfigError, ConflictError
from kling_ledger.ledger import rules
from kling_ledger.ledger.budgets import MODES, Budget, by_name, every, find_budget
from kling_ledger.ledger.engines.transaction import Row, Stamp, Transaction, overtaken
from kling_ledger.ledger.ids import new_id, numbers
from kling_ledger.ledger.rules import Rules
from kling_ledger.ledger.schema import BUDGET, BUDGET_EVENT
from kling_ledger.ledger.scopes import Scope, check_scope
from kling_ledger.ledger.standing import BudgetStatus, status
from kling_ledger.ledger.wallets import NAME, find
from kling_ledger.ledger.windows import REPEATS, read_zone
from kling_pricing.errors import AmountError
from kling_pricing.money import Money

WITH_A_JOB: Final = "set with the first job that it counts"
"""The reason recorded for a budget that came with a job, not from a person."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a budget is set to: how much may be used of what, in which windows.

    `limit` and `ceiling` are in the budget's unit; `window` is one of REPEATS and begins by the
    clocks of `timezone`; `thresholds` are percentages of the limit.
    """

    name: str
    limit: Money
    scope: Scope
    window: str
    timezone: str
    mode: str
    thresholds: Sequence[int]
    ceiling: Money | None


def define(transaction: Transaction, setting: Setting, *, stamp: Stamp) -> BudgetStatus:
    """Set a budget: a new one, or new settings of an existing one.

    Its scope, window, zone and unit never change: ConflictError names the one that differs. Setting
    the same again does nothing.
    """
    transaction.be_alone()
    _check(setting)
    known = by_name(transaction, setting.name)
    budget = _as_set(transaction, setting, known, stamp)
    if known is None:
        transaction.insert(BUDGET, [_row(budget, stamp.at_us)])
    else:
        _check_unchanged(known, budget)
        if budget == known:
            return status(transaction, budget, stamp.at_us)
        _change(transaction, budget)
    record(transaction, budget.id, _said(budget), stamp)
    return status(transaction, budget, stamp.at_us)


def define_missing(
    transaction: Transaction, known: Rules, settings: Iterable[Setting], *, stamp: Stamp
) -> Rules:
    """Set the budgets that do not exist yet, and return the rules with them.

    An existing one stays as it is, whatever its limit is now. Raises ConflictError if it covers
    something else.
    """
    missing = {one.name: one for one in settings if not known.has(one.name, one.scope)}
    if not missing:
        return known
    transaction.be_alone()
    for place, setting in enumerate(missing.values()):
        own = replace(stamp, chance=stamp.chance + place, reason=WITH_A_JOB)
        define(transaction, setting, stamp=own)
    rules.changed(transaction)
    # Not cached for others: this transaction may still be undone.
    return replace(known, budgets=every(transaction))


def as_if_defined(
    transaction: Transaction, known: Rules, setting: Setting | None, *, at_us: int
) -> Rules:
    """Return the rules as `define_missing` would leave them, without setting anything.

    Raises its errors.
    """
    if setting is None or known.has(setting.name, setting.scope):
        return known
    _check(setting)
    named = by_name(transaction, setting.name)
    budget = _as_set(transaction, setting, named, Stamp(at_us, "", None, 0))
    if named is not None:
        _check_unchanged(named, budget)
    return replace(known, budgets=tuple(sorted([*known.budgets, budget], key=lambda one: one.id)))


def remove(transaction: Transaction, name: str, *, stamp: Stamp) -> None:
    """Remove a budget: it no longer counts or limits anything. Its history stays."""
    transaction.be_alone()
    budget = find_budget(transaction, name)
    transaction.change(
        "UPDATE budget SET removed_at = :at WHERE id = :id",
        {"at": stamp.at_us, "id": budget.id},
        expect=1,
        refused=overtaken,
    )
    record(transaction, budget.id, {"removed": "yes"}, stamp)


def record(
    transaction: Transaction, budget_id: str, change: dict[str, str | None], stamp: Stamp
) -> None:
    """Record one change of a budget; its steps are numbered from 1."""
    said = {name: text for name, text in change.items() if text is not None}
    row = transaction.row(
        "SELECT COALESCE(MAX(step), 0) AS step FROM budget_event WHERE budget_id = :id",
        id=budget_id,
    )
    step = 1 + (int(row["step"]) if row else 0)
    event = {
        "budget_id": budget_id,
        "step": step,
        "change": json.dumps(said, sort_keys=True, ensure_ascii=False),
        "actor": stamp.actor,
        "reason": stamp.reason,
        "created_at": stamp.at_us,
        "period": rules.posting_month(transaction, stamp.at_us),
    }
    transaction.insert(BUDGET_EVENT, [event])


def _as_set(
    transaction: Transaction, setting: Setting, known: Budget | None, stamp: Stamp
) -> Budget:
    """Return the budget that a setting makes; an existing one keeps its id and its raises."""
    scope, ceiling = setting.scope, setting.ceiling
    wallet = None if scope.wallet is None else find(transaction, scope.wallet)
    return Budget(
        id=new_id("bud", next(numbers(stamp.at_us, stamp.chance))) if known is None else known.id,
        name=setting.name,
        unit=setting.limit.unit,
        limit_micro=setting.limit.micro,
        ceiling_micro=None if ceiling is None else ceiling.micro,
        mode="hard" if setting.mode == "hard" else "warn",
        thresholds=tuple(sorted(set(setting.thresholds))),
        # A wallet may be given by its id; the budget always stores its name.
        scope=scope if wallet is None else replace(scope, wallet=wallet.name),
        wallet_id=None if wallet is None else wallet.id,
        window=setting.window,
        timezone=setting.timezone,
        raises=() if known is None else known.raises,
    )


def _change(transaction: Transaction, budget: Budget) -> None:
    transaction.change(
        "UPDATE budget SET limit_micro = :limit_micro, ceiling_micro = :ceiling_micro,"
        " mode = :mode, thresholds = :thresholds WHERE id = :id",
        {
            "limit_micro": budget.limit_micro,
            "ceiling_micro": budget.ceiling_micro,
            "mode": budget.mode,
            "thresholds": _words(budget.thresholds),
            "id": budget.id,
        },
        expect=1,
        refused=overtaken,
    )


def _check(setting: Setting) -> None:
    if not NAME.fullmatch(setting.name):
        raise ConfigError(
            f"invalid budget name: {setting.name!r}",
            hint="use up to 64 letters, digits and . _ / - beginning with a letter or digit",
        )
    _check_amounts(setting.limit, setting.ceiling)
    if setting.window not in REPEATS:
        raise ConfigError(f"no such window: {setting.window!r}", hint=f"use {', '.join(REPEATS)}")
    if setting.mode not in MODES:
        raise ConfigError(f"no such mode: {setting.mode!r}", hint=f"use {' or '.join(MODES)}")
    if not all(0 < threshold <= 1000 for threshold in setting.thresholds):
        raise ConfigError("a threshold is a percentage above 0", hint="such as 50, 80 or 100")
    read_zone(setting.timezone)
    check_scope(setting.scope)


def _check_amounts(limit: Money, ceiling: Money | None) -> None:
    for money in (limit,) if ceiling is None else (limit, ceiling):
        if not isinstance(money, Money):
            raise AmountError("limit", got=money, allowed="Money, such as Money.parse('50 USD')")
        if money.micro < 0:
            raise AmountError("limit", got=str(money), allowed="0 or more")
        if money.unit != limit.unit:
            raise AmountError("unit of the ceiling", got=money.unit, allowed=limit.unit)


def _check_unchanged(known: Budget, given: Budget) -> None:
    before, after = _identity(known), _identity(given)
    for field in before:
        if before[field] != after[field]:
            raise ConflictError(
                f"budget {known.name}", field=field, stored=before[field], given=after[field]
            )


def _identity(budget: Budget) -> dict[str, str | None]:
    scope = budget.scope
    return {
        "wallet": budget.wallet_id and scope.wallet,
        "project": scope.project,
        "provider": scope.provider,
        "model": scope.model,
        "label": scope.label,
        "window": budget.window,
        "timezone": budget.timezone,
        "unit": budget.unit,
    }


def _said(budget: Budget) -> dict[str, str | None]:
    return {
        "limit": str(budget.limit),
        "ceiling": None if budget.ceiling is None else str(budget.ceiling),
        "mode": budget.mode,
        "thresholds": _words(budget.thresholds),
        **_identity(budget),
    }


def _row(budget: Budget, at_us: int) -> Row:
    scope = budget.scope
    return {
        "id": budget.id,
        "name": budget.name,
        "unit": budget.unit,
        "limit_micro": budget.limit_micro,
        "ceiling_micro": budget.ceiling_micro,
        "mode": budget.mode,
        "thresholds": _words(budget.thresholds),
        "wallet_id": budget.wallet_id,
        "project": scope.project,
        "provider": scope.provider,
        "model": scope.model,
        "label": scope.label,
        "repeats": budget.window,
        "timezone": budget.timezone,
        "created_at": at_us,
        "removed_at": None,
    }


def _words(thresholds: Sequence[int]) -> str:
    return ",".join(str(threshold) for threshold in thresholds)
