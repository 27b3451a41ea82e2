"""SQLite: a file, many threads and processes, one writer at a time.

WAL with `synchronous=FULL`: what was acknowledged survives a power cut. A writing transaction takes
the write lock when it begins, so that nothing is read and then overtaken.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool
from sqlmodel import SQLModel

from kling_ledger.errors import DatabaseError
from kling_ledger.ledger.engines.spares import Spares
from kling_ledger.ledger.engines.transaction import (
    Refusal,
    Row,
    Transaction,
    Values,
    Work,
    columns_of,
)
from kling_ledger.ledger.engines.turns import Entry, FileTurn, GroupCommit

_SIZES: Final = (64, 16, 4, 1)
"""How many rows one statement inserts: few statements of few sizes. Between two of them Python lets
other threads run, and those that wait for this transaction would only be in its way."""

BUSY_TIMEOUT_S: Final = 30
"""How long a transaction waits for another process to finish its own."""

Item = TypeVar("Item")
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


class SqliteFile:
    """A ledger's file: transactions that read beside one another, and writers one by one."""

    dialect: Final = "sqlite"

    def __init__(self, path: Path) -> None:
        self.name = f"sqlite:///{path}"
        self._path = path
        self.engine = _engine(path)
        self._readers = Spares(self._connect, is_idle=lambda reader: not reader.in_transaction)
        self._turn = FileTurn(path)
        self._group = GroupCommit(self._write_together, self._clear)
        self._writer: sqlite3.Connection | None = None
        self._begun: list[Entry] = []
        self._is_ending = False

    def close(self) -> None:
        """Give back every connection."""
        if self._writer is not None:
            self._writer.close()
        self._writer = None
        self._readers.close()
        self._turn.close()
        self.engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """Open a transaction that sees one consistent state and writes nothing."""
        with self._readers.lent() as connection:
            try:
                connection.execute("BEGIN")
                yield SqliteTransaction(connection)
            finally:
                connection.rollback()

    def write(self, operation: Callable[[Transaction], Result]) -> Result:
        """Run an operation in a transaction: all of it happens, or nothing where it raises."""
        result: Result = self._group.run(Entry(operation))
        return result

    def write_items(self, work: Work[Item, Result]) -> list[Result]:
        """Run an operation on items, perhaps as one with others of its kind."""
        result_of: Callable[[int], Result] = self._group.run(Entry(work, work=work))
        return [result_of(place) for place in range(len(work.items))]

    @contextmanager
    def schema(self) -> Iterator[Connection]:
        """Open a transaction for the tables themselves; nobody else writes while it lasts."""
        with self.engine.begin() as connection:
            yield connection

    def use_write_ahead_log(self) -> None:
        """Switch a database that is ours to WAL, for good; every later opening finds it done."""
        give_up_at = time.monotonic() + BUSY_TIMEOUT_S
        with self._readers.lent() as connection:
            while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                try:
                    connection.execute("PRAGMA journal_mode=WAL")
                except sqlite3.OperationalError:
                    # SQLite does not wait for others here: its time-out covers transactions.
                    if time.monotonic() >= give_up_at:
                        raise
                    time.sleep(0.01)

    def _write_together(self, entries: list[Entry]) -> None:
        connection = self._writing()
        with self._turn:
            self._begun = entries
            for entry in entries:
                entry.error = None
            try:
                connection.execute("BEGIN IMMEDIATE")
                _run(connection, entries)
                self._is_ending = True
                connection.execute("COMMIT")
                for entry in entries:
                    entry.is_done = True
            except Exception as error:  # noqa: BLE001 - whoever waits is told
                # On a full disk SQLite has ended the transaction by itself: nothing of it stands.
                self._is_ending = False
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                entries[0].error = error
                entries[0].is_done = True
            self._begun = []
            self._is_ending = False

    def _clear(self) -> None:
        """Finish what Ctrl-C has left half done: a transaction, a turn."""
        if self._begun:
            self._decide()
        self._turn.give_up()

    def _decide(self) -> None:
        """Find out whether an interrupted transaction had come to its end.

        If so it stands, and is told so; else nothing of it does. Either way the connection is given
        up: it may be within a query that nobody reads any more.
        """
        writer = self._writer
        if self._is_ending and writer is not None and not writer.in_transaction:
            for entry in self._begun:
                entry.is_done = True
        # Without a call between: decided once, and never again with another connection.
        self._writer = None
        self._begun = []
        self._is_ending = False
        if writer is not None:
            writer.close()

    def _writing(self) -> sqlite3.Connection:
        """Return the one connection that writes; only the thread whose turn it is uses it."""
        if self._writer is None:
            self._writer = self._connect()
        return self._writer

    def _connect(self) -> sqlite3.Connection:
        pooled: Any = self.engine.raw_connection()
        connection: sqlite3.Connection = pooled.driver_connection
        pooled.detach()
        return connection


def _run(connection: sqlite3.Connection, entries: list[Entry]) -> None:
    transaction = SqliteTransaction(connection)
    if len(entries) == 1:
        entries[0].value = entries[0].operation(transaction)
    elif not _run_all(connection, transaction, entries):
        connection.execute("ROLLBACK TO together")
        _run_each(connection, SqliteTransaction(connection), entries)


def _run_all(
    connection: sqlite3.Connection, transaction: Transaction, entries: list[Entry]
) -> bool:
    """Run operations, those of one kind as one; False if something has to be undone.

    Most are admitted, and most refusals come before anything is written: for those, the savepoints
    that could undo an operation by itself are not needed.
    """
    connection.execute("SAVEPOINT together")
    for some in _by_kind(entries):
        before = connection.total_changes
        try:
            _run_as_one(transaction, some)
        except Exception as error:
            if not connection.in_transaction:
                raise
            if len(some) > 1 or connection.total_changes != before:
                return False
            some[0].error = error
    return True


def _by_kind(entries: list[Entry]) -> list[list[Entry]]:
    """Put operations together that can run as one; they all wait, so any order is as good."""
    kinds: dict[object, list[Entry]] = {}
    for entry in entries:
        kinds.setdefault(entry.work.run if entry.work else entry, []).append(entry)
    return list(kinds.values())


def _run_as_one(transaction: Transaction, entries: list[Entry]) -> None:
    works = [entry.work for entry in entries if entry.work is not None]
    if len(entries) == 1:
        entries[0].value = entries[0].operation(transaction)
        return
    items = [item for work in works for item in work.items]
    result_of = replace(works[0], items=items)(transaction)
    start = 0
    for entry, work in zip(entries, works, strict=True):
        entry.value = partial(_from, start, result_of)
        start += len(work.items)


def _from(start: int, result_of: Callable[[int], Any], place: int) -> Any:
    return result_of(start + place)


def _run_each(
    connection: sqlite3.Connection, transaction: Transaction, entries: list[Entry]
) -> None:
    """Run operations one after another; one that is refused leaves no trace and spoils nothing."""
    for entry in entries:
        entry.error = None
        try:
            entry.value = transaction.attempt(partial(entry.operation, transaction))
        except Exception as error:
            if not connection.in_transaction:
                raise
            entry.error = error


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


def _engine(path: Path) -> Engine:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatabaseError(f"cannot make the folder of {path}: {error.strerror}") from None
    # Built from its parts: in an address a file's name could be taken for options.
    address = URL.create("sqlite", database=str(path))
    arguments = {"timeout": BUSY_TIMEOUT_S, "check_same_thread": False}
    engine = create_engine(address, connect_args=arguments, poolclass=NullPool)
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    return engine


def _configure(connection: sqlite3.Connection, _record: object) -> None:
    # The driver must not open transactions by itself: who begins decides which kind it is.
    connection.isolation_level = None
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin(connection: Any) -> None:
    """Begin what goes through SQLAlchemy itself: making the tables, and migrations."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")
