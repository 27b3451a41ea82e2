"""Rules: the budgets that are in force, the months that are closed and the number of slots.

They are read once and kept: they change seldom and are needed at every admission. The database
counts their changes: who has read them checks that count in each transaction and reads them again
when it has moved.
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
"""The setting that says how many slots a ledger has."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds at one version: budgets by id, and the months that take no new transfers.

    These are all up to `sealed_to`, the last month that is sealed (empty if none is): what came
    before a seal could never be sealed itself. `slots` says into how many a hot row is shared out.
    """

    version: int
    budgets: tuple[Budget, ...]
    closed: frozenset[str]
    sealed_to: str
    slots: int = 0

    def covering(self, subject: Subject) -> list[Budget]:
        """Return the budgets in which a reservation counts, in the order of their ids."""
        return [budget for budget in self.budgets if budget.covers(subject)]

    def has(self, name: str, scope: Scope) -> bool:
        """Whether there is a budget of a name that covers exactly this."""
        return any(one.name == name and one.scope == scope for one in self.budgets)

    def period(self, at_us: int) -> str:
        """Return the month that a transfer counts in: its own, or the next that is not closed."""
        return _first_open(month_of(at_us), self.closed, self.sealed_to)


class RulesReader:
    """Keeps the rules as they were last read; safe to share between threads."""

    def __init__(self) -> None:
        self._rules: Rules | None = None

    def read(self, transaction: Transaction) -> Rules:
        """Return the rules that hold in a transaction."""
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
                # What this transaction has changed itself may yet be undone.
                self._rules = None if _CHANGED in transaction.known else rules
        transaction.assume(_VERSION, rules.version)
        return rules


def changed(transaction: Transaction) -> None:
    """Count a change of the rules, in the transaction that makes it."""
    transaction.run("UPDATE rules SET version = version + 1")
    transaction.known.pop(_VERSION, None)
    transaction.known[_CHANGED] = True


def posting_month(transaction: Transaction, at_us: int) -> str:
    """Return the month that something counts in, as `Rules.period`, for what happens seldom."""
    return _first_open(month_of(at_us), *_closed(transaction))


def month_of(at_us: int) -> str:
    """Return the month, in UTC, that an instant lies in: `2026-11`."""
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
