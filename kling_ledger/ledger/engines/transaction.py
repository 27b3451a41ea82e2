"""Transaction: what an operation may do with the database, in the same words on both engines.

An operation first reads what it needs to know, then changes. Statements are plain SQL with `:name`
parameters. A change says how many rows it must touch; if it touches another number, the whole
transaction is undone and `refused` says why.
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
"""For how many texts one query asks."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """Who changes something, when, and why; `chance` is what makes the ids of it unique."""

    at_us: int
    actor: str
    reason: str | None
    chance: int


class Update(NamedTuple):
    """The change of one row: what is known of it before, and the columns that get new values.

    A column may be in both: it is then changed only if nobody else has changed it.
    """

    known: Row
    new: Row


Decide = Callable[["Transaction", Sequence[Item], "Stamp"], Callable[[int], Result]]
"""What is done with items under a stamp. What it returns gives the result of an item by its place,
once the transaction has ended."""


Outcome = Callable[[int], Any] | Exception | None
"""What became of a batch among others: what gives its results by place, why there are none, or None
where it has to be run by itself."""

InTurn = Callable[["Transaction", Sequence["Batch[Any, Any]"]], Callable[[], Sequence[Outcome]]]
"""How batches that cannot be merged are seen to one after another in one transaction, beside which
nobody else writes. What it returns gives the outcomes, once the transaction has ended."""


@dataclass(frozen=True, slots=True)
class Batch(Generic[Item, Result]):
    """Items and what is done with them. Those of one `decide` that wait together may be merged.

    Where all of them together are refused, `in_turn` sees to each, if there is such a way.
    """

    decide: Decide[Item, Result]
    items: Sequence[Item]
    stamp: Stamp
    in_turn: InTurn | None = None

    def __call__(self, transaction: Transaction) -> Callable[[int], Result]:
        """Run it by itself."""
        return self.decide(transaction, self.items, self.stamp)


class NotAloneError(LedgerError):
    """An operation has to be run in a transaction that is exclusive; never seen by a caller."""

    code = "not_alone"

    def __init__(self) -> None:
        super().__init__("this needs a transaction of its own")


class NothingDoneError(LedgerError):
    """None of some batches did anything, so that there is nothing to commit; no caller sees it."""

    code = "nothing_done"

    def __init__(self, outcomes: Sequence[Outcome]) -> None:
        super().__init__("nothing was done")
        self.outcomes = outcomes


class Transaction(ABC):
    """One open transaction of a ledger's database.

    `is_exclusive` says that nobody else writes while it lasts, so that what was read stays true. In
    a transaction that is not, a failing expectation means only that the operation has to be run
    again in one that is.
    """

    is_exclusive: bool
    place: int = 0
    """A number that is its connection's own, as far as there is one."""

    def __init__(self) -> None:
        self.known: dict[str, Any] = {}
        """What was read once and holds until the end."""
        self.moved: list[str] = []
        """The transfers that were written in it, by their ids; a part that failed may have some."""

    @staticmethod
    @abstractmethod
    def json_array(texts: Sequence[str]) -> str:
        """Write expressions of text as one: a JSON array without spaces, alike on every engine."""

    @abstractmethod
    def rows(self, statement: str, **values: Any) -> list[Row]:
        """Run a query and return its rows."""

    @abstractmethod
    def batches(self, statement: str, size: int, **values: Any) -> Iterator[list[tuple[Any, ...]]]:
        """Run a query and give its rows as plain values, at most `size` in memory at a time."""

    @abstractmethod
    def change(
        self, statement: str, values: Values, *, expect: int | None, refused: Refusal
    ) -> list[Row]:
        """Run a statement that must change `expect` rows (any number if None).

        The list that is returned holds what the statement returns, at the latest when the
        transaction has ended.
        """

    @abstractmethod
    def insert(self, table: Table, rows: Sequence[Row]) -> None:
        """Insert rows, each with every column of the table by its name."""

    @abstractmethod
    def update(self, table: Table, updates: Sequence[Update], *, refused: Refusal) -> None:
        """Update one row each, all of them with the same columns; every row must be there."""

    @abstractmethod
    def assume(self, query: str, value: int) -> None:
        """Undo the transaction unless a query still gives one value; only where it may not."""

    @abstractmethod
    def attempt(self, operation: Callable[[], Result]) -> Result:
        """Run a part of an operation; if it raises, the rest of the transaction stands."""

    def be_alone(self) -> None:
        """Ask for a transaction beside which nobody else writes: the operation is run again."""
        if not self.is_exclusive:
            raise NotAloneError

    def row(self, statement: str, **values: Any) -> Row | None:
        """Run a query and return its first row, or None."""
        found = self.rows(statement, **values)
        return found[0] if found else None

    def rows_for(self, statement: str, given: Sequence[str]) -> list[Row]:
        """Run a query whose `IN (:given)` asks for many texts, some hundred at a time."""
        found: list[Row] = []
        for first in range(0, len(given), _AT_ONCE):
            some = given[first : first + _AT_ONCE]
            # The last one fills up to a power of two: that makes few statements of many sizes.
            count = 1 << (len(some) - 1).bit_length()
            values = {f"given{n}": some[min(n, len(some) - 1)] for n in range(count)}
            found.extend(self.rows(_spread(statement, count), **values))
        return found

    def run(self, statement: str, **values: Any) -> None:
        """Run a statement that may change any number of rows."""
        self.change(statement, values, expect=None, refused=never)


def readable(text: str | None) -> str | None:
    """Return a text that every engine can keep: a message of others may hold what it cannot."""
    return None if text is None else text.replace("\0", "").encode(errors="replace").decode()


def plain(given: str) -> str:
    """Return a name that a database can be asked for: PostgreSQL takes no zero byte in a text."""
    return given.replace("\0", "")


@cache
def _spread(statement: str, count: int) -> str:
    marks = ", ".join(f":given{number}" for number in range(count))
    return statement.replace(":given", marks)


def never() -> NoReturn:
    """Say that a statement without an expectation cannot fail one."""
    raise AssertionError("a statement that may change any number of rows was refused")


def overtaken() -> Exception:
    """Say that a row is not as it was read a moment ago, in a transaction that is alone."""
    return AssertionError("a row changed while nobody else could write")


def names_of(updates: Sequence[Update]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the columns that updates know, and those that they change."""
    first = updates[0]
    return tuple(first.known), tuple(first.new)


def values_of(updates: Sequence[Update]) -> list[list[Any]]:
    """Return what an UPDATE is given for each row: the new values, then the known ones.

    Each is looked up by its name: two updates may name their columns in different orders.
    """
    known, new = names_of(updates)
    return [[*map(one.new.__getitem__, new), *map(one.known.__getitem__, known)] for one in updates]
