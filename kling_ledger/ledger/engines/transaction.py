"""Transaction: what an operation can do with the database, the same on both engines.

An operation first reads what it needs, then makes changes. Statements are plain SQL with `:name`
parameters. A change says how many rows it must touch; if it touches another number, the whole
transaction is undone and `refused` gives the reason.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Generic, NamedTuple, NoReturn, TypeVar

from kling_ledger.errors import LedgerError
from kling_ledger.ledger.schema import Table

Row = Mapping[str, Any]
Values = Mapping[str, Any]
Result = TypeVar("Result")
Item = TypeVar("Item")
Refusal = Callable[[], Exception]

_AT_ONCE: Final = 512
"""How many texts one query asks for."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """Who changes something, when, and why; `chance` makes its ids unique."""

    at_us: int
    actor: str
    reason: str | None
    chance: int


class Update(NamedTuple):
    """The change of one row: its known values, and the columns that get new ones.

    A column may be in both: then it only changes if nobody else has changed it.
    """

    known: Row
    new: Row


Decide = Callable[["Transaction", Sequence[Item], "Stamp"], Callable[[int], Result]]
"""What to do with items under a stamp. The function that it returns gives the result of an item by
its place, after the transaction has ended."""


Outcome = Callable[[int], Any] | Exception | None
"""The result of one batch among others: the function that gives its results by place, or the reason
why there are none, or None if the batch must run by itself."""

InTurn = Callable[["Transaction", Sequence["Batch[Any, Any]"]], Callable[[], Sequence[Outcome]]]
"""Decides batches that cannot be merged, one after another, in one exclusive transaction. What it
returns gives the outcomes, after the transaction has ended."""


@dataclass(frozen=True, slots=True)
class Batch(Generic[Item, Result]):
    """Items and what to do with them.

    Batches with the same `decide` that wait together may be merged. If a merged batch is refused,
    `in_turn` decides each one by itself, if given.
    """

    decide: Decide[Item, Result]
    items: Sequence[Item]
    stamp: Stamp
    in_turn: InTurn | None = None

    def __call__(self, transaction: Transaction) -> Callable[[int], Result]:
        """Run it by itself."""
        return self.decide(transaction, self.items, self.stamp)


class NotAloneError(LedgerError):
    """The operation must run in an exclusive transaction; no caller sees this."""

    code = "not_alone"

    def __init__(self) -> None:
        super().__init__("this needs a transaction of its own")


class NothingDoneError(LedgerError):
    """None of several batches changed anything: nothing to commit; no caller sees this."""

    code = "nothing_done"

    def __init__(self, outcomes: Sequence[Outcome]) -> None:
        super().__init__("nothing was done")
        self.outcomes = outcomes


class Transaction(ABC):
    """One open transaction of a ledger's database.

    `is_exclusive`: nobody else writes while it lasts, so what was read stays true. In any other
    transaction, a failed expectation only means that the operation must run again in an exclusive
    one.
    """

    is_exclusive: bool
    place: int = 0
    """A number for its connection, if there is one."""

    def __init__(self) -> None:
        self.known: dict[str, Any] = {}
        """What was read once and stays true until the end."""
        self.moved: list[str] = []
        """The ids of the transfers written in it; some may be from a part that failed."""

    @staticmethod
    @abstractmethod
    def json_array(texts: Sequence[str]) -> str:
        """Combine text expressions into one: a JSON array without spaces, alike on every engine."""

    @abstractmethod
    def rows(self, statement: str, **values: Any) -> list[Row]:
        """Run a query and return its rows."""

    @abstractmethod
    def batches(self, statement: str, size: int, **values: Any) -> Iterator[list[tuple[Any, ...]]]:
        """Run a query and yield its rows as plain values, at most `size` in memory at a time."""

    @abstractmethod
    def change(
        self, statement: str, values: Values, *, expect: int | None, refused: Refusal
    ) -> list[Row]:
        """Run a statement that must change `expect` rows (any number if None).

        The returned list has the statement's rows, at the latest after the transaction has ended.
        """

    @abstractmethod
    def insert(self, table: Table, rows: Sequence[Row]) -> None:
        """Insert rows; each names every column of the table."""

    @abstractmethod
    def update(self, table: Table, updates: Sequence[Update], *, refused: Refusal) -> None:
        """Update one row per update, all with the same columns; every row must exist."""

    @abstractmethod
    def assume(self, query: str, value: int) -> None:
        """Undo the transaction unless a query still returns this value; not in exclusive ones."""

    @abstractmethod
    def attempt(self, operation: Callable[[], Result]) -> Result:
        """Run a part of an operation; if it raises, the rest of the transaction stands."""

    def be_alone(self) -> None:
        """Require an exclusive transaction: the operation runs again in one."""
        if not self.is_exclusive:
            raise NotAloneError

    def row(self, statement: str, **values: Any) -> Row | None:
        """Run a query and return its first row, or None."""
        found = self.rows(statement, **values)
        return found[0] if found else None

    def rows_for(self, statement: str, given: Sequence[str]) -> list[Row]:
        """Run a query whose `IN (:given)` takes many texts, some hundred at a time."""
        found: list[Row] = []
        for first in range(0, len(given), _AT_ONCE):
            some = given[first : first + _AT_ONCE]
            # The last query is filled up to a power of two, so that there are few different
            # statements.
            count = 1 << (len(some) - 1).bit_length()
            values = {f"given{n}": some[min(n, len(some) - 1)] for n in range(count)}
            found.extend(self.rows(_spread(statement, count), **values))
        return found

    def run(self, statement: str, **values: Any) -> None:
        """Run a statement that may change any number of rows."""
        self.change(statement, values, expect=None, refused=never)


def readable(text: str | None) -> str | None:
    """Return a text that every engine can store: a foreign message may hold what they cannot."""
    return None if text is None else text.replace("\0", "").encode(errors="replace").decode()


def plain(given: str) -> str:
    """Return a name that can be looked up: PostgreSQL takes no zero byte in a text."""
    return given.replace("\0", "")


@cache
def _spread(statement: str, count: int) -> str:
    marks = ", ".join(f":given{number}" for number in range(count))
    return statement.replace(":given", marks)


def never() -> NoReturn:
    """The `refused` of a statement without an expectation, which cannot fail."""
    raise AssertionError("a statement that may change any number of rows was refused")


def overtaken() -> Exception:
    """The `refused` of a row that changed after it was read, in an exclusive transaction."""
    return AssertionError("a row changed while nobody else could write")


def names_of(updates: Sequence[Update]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the known columns of updates, and those that they change."""
    first = updates[0]
    return tuple(first.known), tuple(first.new)


def values_of(updates: Sequence[Update]) -> list[list[Any]]:
    """Return what an UPDATE is given for each row: the new values, then the known ones.

    Each is looked up by its name: two updates may name their columns in different orders.
    """
    known, new = names_of(updates)
    return [[*map(one.new.__getitem__, new), *map(one.known.__getitem__, known)] for one in updates]
