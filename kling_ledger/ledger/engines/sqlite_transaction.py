"""SqliteTransaction: what an operation may do with a file, statement by statement."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from functools import cache
from itertools import chain
from typing import Any, Final, TypeVar

from sqlmodel import SQLModel

from kling_ledger.ledger.engines.transaction import (
    Refusal,
    Row,
    Transaction,
    Values,
    columns_of,
)

_SIZES: Final = (64, 16, 4, 1)
"""How many rows one statement inserts: few statements of few sizes. Between two of them Python lets
other threads run, and those that wait for this transaction would only be in its way."""

Result = TypeVar("Result")


class SqliteTransaction(Transaction):
    """A transaction that has the write lock, or one that only reads."""

    is_exclusive = True

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__()
        self._connection = connection

    def rows(self, statement: str, **values: Any) -> list[Row]:
        """Run a query and return its rows."""
        return _dicts(self._connection.execute(statement, values))

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

    def insert(self, table: type[SQLModel], rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows."""
        first = 0
        for size in _SIZES:
            while len(rows) - first >= size:
                some = rows[first] if size == 1 else list(chain(*rows[first : first + size]))
                self._connection.execute(_insert(table, size), some)
                first += size

    def update(
        self,
        table: type[SQLModel],
        known: Sequence[str],
        columns: Sequence[str],
        rows: Sequence[tuple[Any, ...]],
        *,
        refused: Refusal,
    ) -> None:
        """Set columns of rows."""
        statement = _update(table, tuple(known), tuple(columns))
        run = self._connection.execute if len(rows) == 1 else self._connection.executemany
        given: Any = rows[0] if len(rows) == 1 else rows
        if run(statement, given).rowcount != len(rows):
            raise refused()


def _dicts(cursor: sqlite3.Cursor) -> list[Row]:
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


@cache
def _insert(table: type[SQLModel], rows: int) -> str:
    columns = columns_of(table)
    marks = ", ".join([f"({', '.join('?' * len(columns))})"] * rows)
    return f"INSERT INTO {table.__tablename__} ({', '.join(columns)}) VALUES {marks}"


@cache
def _update(table: type[SQLModel], known: tuple[str, ...], columns: tuple[str, ...]) -> str:
    settings = ", ".join(f"{column} = ?" for column in columns)
    conditions = " AND ".join(f"{column} = ?" for column in known)
    return f"UPDATE {table.__tablename__} SET {settings} WHERE {conditions}"
