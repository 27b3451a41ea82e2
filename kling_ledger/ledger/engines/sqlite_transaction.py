"""SqliteTransaction: an operation's access to a file, statement by statement."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import chain
from typing import Any, Final, TypeVar

from kling_ledger.ledger.engines.transaction import (
    Refusal,
    Row,
    Transaction,
    Update,
    Values,
    names_of,
    values_of,
)
from kling_ledger.ledger.schema import Table

_SIZES: Final = (64, 16, 4, 1)
"""How many rows one statement inserts: few statements, of few sizes. Between two statements Python
lets other threads run, which wait for this transaction and would only be in its way."""

Result = TypeVar("Result")


class SqliteTransaction(Transaction):
    """A transaction that has the write lock, or one that only reads."""

    is_exclusive = True

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__()
        self._connection = connection

    @staticmethod
    def json_array(texts: Sequence[str]) -> str:
        """Combine text expressions into one: a JSON array without spaces."""
        return f"json_array({', '.join(texts)})"

    def rows(self, statement: str, **values: Any) -> list[Row]:
        """Run a query and return its rows."""
        return _dicts(self._connection.execute(statement, values))

    def batches(self, statement: str, size: int, **values: Any) -> Iterator[list[tuple[Any, ...]]]:
        """Run a query and yield its rows as plain values, at most `size` in memory at a time."""
        cursor = self._connection.execute(statement, values)
        while rows := cursor.fetchmany(size):
            yield rows

    def change(
        self, statement: str, values: Values, *, expect: int | None, refused: Refusal
    ) -> list[Row]:
        """Run a statement at once and return what it returns."""
        cursor = self._connection.execute(statement, values)
        returned = _dicts(cursor) if cursor.description else []
        changed = len(returned) if cursor.description else cursor.rowcount
        if expect is not None and changed != expect:
            raise refused()
        return returned

    def attempt(self, operation: Callable[[], Result]) -> Result:
        """Run a part of an operation; if it raises, the rest of the transaction stands."""
        self._connection.execute("SAVEPOINT attempt")
        try:
            return operation()
        except BaseException:
            self._connection.execute("ROLLBACK TO attempt")
            raise
        finally:
            self._connection.execute("RELEASE attempt")

    def assume(self, query: str, value: int) -> None:
        """Do nothing: what was read stays true."""

    def insert(self, table: Table, rows: Sequence[Row]) -> None:
        """Insert rows."""
        values = [table.in_order(row) for row in rows]
        first = 0
        for size in _SIZES:
            while len(values) - first >= size:
                some = list(chain.from_iterable(values[first : first + size]))
                self._connection.execute(_insert(table, size), some)
                first += size

    def update(self, table: Table, updates: Sequence[Update], *, refused: Refusal) -> None:
        """Update one row per update."""
        statement = _update(table, *names_of(updates))
        values = values_of(updates)
        # A single `execute` is faster than an `executemany` of one.
        if len(values) == 1:
            cursor = self._connection.execute(statement, values[0])
        else:
            cursor = self._connection.executemany(statement, values)
        if cursor.rowcount != len(values):
            raise refused()


def _dicts(cursor: sqlite3.Cursor) -> list[Row]:
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


@cache
def _insert(table: Table, rows: int) -> str:
    marks = ", ".join([f"({', '.join('?' * len(table.columns))})"] * rows)
    return f"INSERT INTO {table.name} ({', '.join(table.columns)}) VALUES {marks}"


@cache
def _update(table: Table, known: tuple[str, ...], new: tuple[str, ...]) -> str:
    settings = ", ".join(f"{column} = ?" for column in new)
    conditions = " AND ".join(f"{column} = ?" for column in known)
    return f"UPDATE {table.name} SET {settings} WHERE {conditions}"
