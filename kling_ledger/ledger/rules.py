"""Rules: the budgets in force, the closed months and the number of slots.

They are read once and cached: they change rarely and are needed at every admission. The database
counts their changes: each transaction checks that count, and rereads the rules when it has changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from kling_ledger.ledger import budgets
from kling_ledger.ledger.budgets import Budget
from kling_ledger.ledger.engines.transaction import Transaction
from kling_ledger.ledger.ids import from_us
from kling_ledger.ledger.scopes import Scope, Subject

_DAY_US: Final = 86_400_000_000
_CHANGED: Final = "rules were changed"
_VERSION: Final = "SELECT version FROM rules"

SLOTS: Final = "slots"
"""The setting with the number of slots of a ledger."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules at one version: budgets by id, and the months that take no new transfers.

    Every month up to `sealed_to`, the last one sealed or being sealed (empty if none), is among
    them: a transfer before a seal could never be sealed itself. `slots` is the number of slots of a
    hot row.
    """

    version: int
    budgets: tuple[Budget, ...]
    closed: frozenset[str]
    sealed_to: str
    slots: int = 0

    def covering(self, subject: Subject) -> list[Budget]:
        """Return the budgets in which a reservation counts, by id."""
        return [budget for budget in self.budgets if budget.covers(subject)]

    def has(self, name: str, scope: Scope) -> bool:
        """Whether there is a budget of this name that covers exactly this scope."""
        return any(one.name == name and one.scope == scope for one in self.budgets)

    def period(self, at_us: int) -> str:
        """Return the month that a transfer counts in: its own, or the next that is not closed."""
        return _first_open(month_of(at_us), self.closed, self.sealed_to)


class RulesReader:
    """Caches the rules as last read; safe to share between threads."""

    def __init__(self) -> None:
        self._rules: Rules | None = None

    def read(self, transaction: Transaction) -> Rules:
        """Return the rules in force in a transaction."""
        known = transaction.known.get(_VERSION)
        if known is None:
            known = transaction.known[_VERSION] = self._checked(transaction)
        rules: Rules = known
        return rules

    def _checked(self, transaction: Transaction) -> Rules:
        rules = self._rules
        if rules is None or transaction.is_exclusive:
            row = transaction.row(_VERSION)
            version = row["version"] if row else 0
            if rules is None or rules.version != version:
                rules = _read(transaction, version)
                # A change by this very transaction may still be undone.
                self._rules = None if _CHANGED in transaction.known else rules
        transaction.assume(_VERSION, rules.version)
        return rules


def changed(transaction: Transaction) -> None:
    """Count a change of the rules, in the transaction that makes it."""
    transaction.run("UPDATE rules SET version = version + 1")
    transaction.known.pop(_VERSION, None)
    transaction.known[_CHANGED] = True


def posting_month(transaction: Transaction, at_us: int) -> str:
    """Return the month that something rare counts in, like `Rules.period`, without the cache."""
    return _first_open(month_of(at_us), *_closed(transaction))


def month_of(at_us: int) -> str:
    """Return the month of an instant, in UTC: `2026-11`."""
    return _month_of_day(at_us // _DAY_US)


def month_after(month: str) -> str:
    """Return the month after another one."""
    year, number = int(month[:4]), int(month[5:])
    return f"{year + number // 12:04}-{number % 12 + 1:02}"


@lru_cache(maxsize=512)
def _month_of_day(day: int) -> str:
    return f"{from_us(day * _DAY_US):%Y-%m}"


def _read(transaction: Transaction, version: int) -> Rules:
    slots = transaction.row("SELECT value FROM setting WHERE name = :name", name=SLOTS)
    return Rules(
        version,
        budgets.every(transaction),
        *_closed(transaction),
        slots=0 if slots is None else int(slots["value"]),
    )


def _closed(transaction: Transaction) -> tuple[frozenset[str], str]:
    """Return the months that are closed, and the last that is sealed, or is being sealed."""
    closed = transaction.rows("SELECT name, state, format FROM period WHERE state <> 'open'")
    sealed = [row["name"] for row in closed if row["state"] == "hard" or row["format"] is not None]
    return frozenset(str(row["name"]) for row in closed), max(sealed, default="")


def _first_open(month: str, closed: frozenset[str], sealed_to: str) -> str:
    period = max(month, sealed_to)
    while period in closed:
        period = month_after(period)
    return period
