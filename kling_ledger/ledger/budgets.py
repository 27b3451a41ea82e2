"""Budgets: a limit over a scope, in a repeating window; how to find one.

A budget counts every reservation in its scope that was admitted within a window, even before the
budget was set: a window's figures follow from the reservations alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal, get_args

from kling_ledger.errors import NotFoundError
from kling_ledger.ledger import scopes
from kling_ledger.ledger.engines.transaction import Row, Transaction, plain
from kling_ledger.ledger.schema import BUDGET, BUDGET_RAISE
from kling_ledger.ledger.scopes import Scope, Subject
from kling_ledger.ledger.windows import window_at
from kling_pricing.money import Money

Mode = Literal["hard", "warn"]
"""A `hard` budget refuses what exceeds its limit; a `warn` budget only reports it."""

MODES: Final[tuple[str, ...]] = get_args(Mode)
_SELECT: Final = (
    f"SELECT {BUDGET.selected}, wallet.name AS wallet_name FROM budget"
    " LEFT JOIN wallet ON wallet.id = budget.wallet_id WHERE removed_at IS NULL"
)
_SELECT_RAISES: Final = f"SELECT {BUDGET_RAISE.selected} FROM budget_raise"
DEFAULT_THRESHOLDS: Final = (80, 100)
"""The percentages of its limit at which a budget warns by default."""


@dataclass(frozen=True, slots=True)
class Raise:
    """A temporary raise of a limit, in millionths, until an instant in microseconds."""

    amount_micro: int
    until_us: int


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit over a scope. Amounts are in millionths of `unit`; `wallet_id` is the scope's."""

    id: str
    name: str
    unit: str
    limit_micro: int
    ceiling_micro: int | None
    mode: Mode
    thresholds: tuple[int, ...]
    scope: Scope
    wallet_id: str | None
    window: str
    timezone: str
    raises: tuple[Raise, ...]

    def covers(self, subject: Subject) -> bool:
        """Whether a reservation counts in this budget."""
        return scopes.covers(self.scope, subject, wallet_id=self.wallet_id, unit=self.unit)

    def limit_at(self, at_us: int) -> int:
        """Return the limit in millionths, with the raises that are in force."""
        return self.limit_micro + sum(
            raised.amount_micro for raised in self.raises if at_us < raised.until_us
        )

    def window_at(self, at_us: int) -> tuple[int, int]:
        """Return the start (inclusive) and end (exclusive) of the window that holds an instant."""
        return window_at(self.window, self.timezone, at_us)

    @property
    def limit(self) -> Money:
        """The limit without raises."""
        return Money.from_micro(self.limit_micro, self.unit)

    @property
    def ceiling(self) -> Money | None:
        """The most that a single job may cost."""
        micro = self.ceiling_micro
        return None if micro is None else Money.from_micro(micro, self.unit)


def every(transaction: Transaction) -> tuple[Budget, ...]:
    """Return every budget that was not removed, by id: the order in which they are locked."""
    rows = transaction.rows(f"{_SELECT} ORDER BY budget.id")
    raises = transaction.rows(f"{_SELECT_RAISES} ORDER BY id")
    return tuple(_with_raises(rows, raises))


def by_name(transaction: Transaction, name: str) -> Budget | None:
    """Return a budget by its name, None if there is none."""
    rows = transaction.rows(f"{_SELECT} AND budget.name = :name", name=plain(name))
    raises = [
        one
        for row in rows
        for one in transaction.rows(
            f"{_SELECT_RAISES} WHERE budget_id = :id ORDER BY id", id=row["id"]
        )
    ]
    return next(_with_raises(rows, raises), None)


def find_budget(transaction: Transaction, name: str) -> Budget:
    """Return a budget by its name; NotFoundError if there is none."""
    found = by_name(transaction, name)
    if found is None:
        rows = transaction.rows("SELECT name FROM budget WHERE removed_at IS NULL ORDER BY name")
        raise NotFoundError("budget", name, known=[row["name"] for row in rows])
    return found


def _with_raises(rows: Iterable[Row], raises: Iterable[Row]) -> Iterator[Budget]:
    own: dict[str, list[Raise]] = {}
    for row in raises:
        own.setdefault(row["budget_id"], []).append(Raise(row["amount_micro"], row["until_at"]))
    for row in rows:
        yield _budget(row, tuple(own.get(row["id"], ())))


def _budget(row: Row, raises: tuple[Raise, ...]) -> Budget:
    return Budget(
        id=row["id"],
        name=row["name"],
        unit=row["unit"],
        limit_micro=row["limit_micro"],
        ceiling_micro=row["ceiling_micro"],
        mode=row["mode"],
        thresholds=tuple(int(word) for word in row["thresholds"].split(",") if word),
        scope=Scope(
            row["wallet_name"], row["project"], row["provider"], row["model"], row["label"]
        ),
        wallet_id=row["wallet_id"],
        window=row["repeats"],
        timezone=row["timezone"],
        raises=raises,
    )
