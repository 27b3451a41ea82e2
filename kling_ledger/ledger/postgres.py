"""PostgreSQL: a server, many clients, READ COMMITTED, one round trip for most transactions.

An operation is tried first without waiting: it reads, then all its changes are sent at once between
BEGIN and COMMIT, and a change that misses its expectation undoes them. Whatever goes wrong there is
decided by running it again alone, where nothing that was read can be overtaken. Being alone is a
lock that every transaction of a ledger shares and the lonely one takes whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Final, TypeVar

import psycopg
from psycopg import errors as pg_errors
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row
from sqlalchemy import URL, BigInteger, Boolean, Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool
from sqlmodel import SQLModel

from kling_ledger.ledger.tables import EXPECTATION_FAILED
from kling_ledger.ledger.transaction import (
    Refusal,
    Row,
    Transaction,
    Values,
    Work,
    columns_of,
    sql_table,
)
from kling_pricing.errors import KlingError

Item = TypeVar("Item")
Result = TypeVar("Result")

_LOCK: Final = 0x6B6C696E67
"""The key of the advisory lock that a ledger's transactions share."""
_ATTEMPTS: Final = 20
_LOCK_TIMEOUT: Final = "30s"
_PARAMETER: Final = re.compile(r"(?<![:\w]):(\w+)")

_OVERTAKEN: Final = (
    # A constraint may speak before the expectation that somebody else has overtaken does.
    pg_errors.IntegrityError,
    pg_errors.SerializationFailure,
    pg_errors.DeadlockDetected,
)


_Change = tuple[str, Any, list[Row] | None]
"""A statement, its values, and where what it returns goes."""


class PostgresTransaction(Transaction):
    """A transaction on one connection; the two kinds differ in when changes are sent."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        super().__init__()
        self._cursor = connection.cursor(row_factory=dict_row)
        self._connection = connection

    def rows(self, statement: str, **values: Any) -> list[Row]:
        """Run a query and return its rows."""
        return list(self._cursor.execute(_native(statement), values).fetchall())

    def insert(self, table: type[SQLModel], rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows."""
        if len(rows) == 1:
            self._send(_insert(table), rows[0])
        elif rows:
            columns: list[list[Any]] = [list(column) for column in zip(*rows, strict=True)]
            self._send(_insert_many(table), columns)

    def _send(self, statement: str, values: Any) -> None:
        raise NotImplementedError


class Alone(PostgresTransaction):
    """A transaction beside which no other writes: each statement is answered at once."""

    is_exclusive = True

    def change(
        self, statement: str, values: Values, *, expect: int | None, refused: Refusal
    ) -> list[Row]:
        """Run a statement at once and return what it returns."""
        cursor = self._cursor.execute(_native(statement), values)
        if expect is not None and cursor.rowcount != expect:
            raise refused()
        return list(cursor.fetchall()) if cursor.description else []

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
        statement, values = _update(table, tuple(known), tuple(columns), rows)
        if self._cursor.execute(statement, values).rowcount != len(rows):
            raise refused()

    def assume(self, query: str, value: int) -> None:
        """Do nothing: what was read stays true."""

    def attempt(self, operation: Callable[[], Result]) -> Result:
        """Run a part of an operation; if it raises, the rest of the transaction stands."""
        self._cursor.execute("SAVEPOINT attempt")
        try:
            result = operation()
        except BaseException:
            self._cursor.execute("ROLLBACK TO attempt")
            raise
        self._cursor.execute("RELEASE attempt")
        return result

    def _send(self, statement: str, values: Any) -> None:
        self._cursor.execute(statement, values)


class Together(PostgresTransaction):
    """A transaction whose changes are all sent at its end, in one round trip.

    They do not depend on one another, so they are sent in an order of their own: first the rows
    that are this operation's alone, last the balances that others wait for.
    """

    is_exclusive = False

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        super().__init__(connection)
        self._assumed: list[_Change] = []
        self._inserts: list[_Change] = []
        self._updates: list[_Change] = []
        self._changes: list[_Change] = []

    def change(
        self,
        statement: str,
        values: Values,
        *,
        expect: int | None,
        refused: Refusal,  # noqa: ARG002 - who is alone says why
    ) -> list[Row]:
        """Keep a statement for the end; what it returns is in the list from then on."""
        returned: list[Row] = []
        returns = "RETURNING" in statement
        text = _native(statement)
        if expect is not None:
            text = _expecting(text, expect, returns=returns)
        self._changes.append((text, values, returned if returns else None))
        return returned

    def update(
        self,
        table: type[SQLModel],
        known: Sequence[str],
        columns: Sequence[str],
        rows: Sequence[tuple[Any, ...]],
        *,
        refused: Refusal,  # noqa: ARG002 - who is alone says why
    ) -> None:
        """Set columns of rows."""
        statement, values = _update(table, tuple(known), tuple(columns), rows)
        self._updates.append((_expecting(statement, len(rows), returns=False), values, None))

    def assume(self, query: str, value: int) -> None:
        """Undo the transaction unless a query still gives one value."""
        self._assumed.append((f"SELECT kling_ledger_expect(({query}), {value})", None, None))

    def attempt(self, operation: Callable[[], Result]) -> Result:
        """Run a part of an operation; if any of it is refused, all of it is run again alone."""
        return operation()

    def commit(self) -> None:
        """Send everything and wait once. Whatever is not as expected undoes all of it.

        What is sent in one pipeline is one transaction to the server, without a BEGIN or COMMIT.
        """
        changes = [*_joined(self._inserts), *self._updates, *self._changes]
        if not changes:
            return
        cursors = []
        try:
            with self._connection.pipeline():
                self._connection.execute(f"SELECT pg_advisory_xact_lock_shared({_LOCK})")
                for statement, values, returned in [*self._assumed, *changes]:
                    cursor = self._connection.cursor(row_factory=dict_row)
                    cursor.execute(statement, values)
                    if returned is not None:
                        cursors.append((cursor, returned))
        except BaseException:
            _roll_back(self._connection)
            raise
        for cursor, returned in cursors:
            returned.extend(cursor.fetchall())

    def _send(self, statement: str, values: Any) -> None:
        self._inserts.append((statement, values, None))


class PostgresServer:
    """A ledger's database on a server."""

    dialect: Final = "postgresql"

    def __init__(self, url: URL) -> None:
        self.name = _shown(url)
        self._url = url
        self.engine = _engine(url)

    def close(self) -> None:
        """Give back every connection."""
        self.engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """Open a transaction that sees one consistent state and writes nothing."""
        with self._connection() as connection:
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            try:
                yield Alone(connection)
            finally:
                _roll_back(connection)

    def write(self, operation: Callable[[Transaction], Result]) -> Result:
        """Run an operation in a transaction: all of it happens, or nothing where it raises."""
        with self._connection() as connection:
            try:
                return self._together(connection, operation)
            except KlingError:
                # Whatever is refused may be a call that was made before: only a key would tell.
                pass
            except psycopg.Error as error:
                if error.sqlstate != EXPECTATION_FAILED and not isinstance(error, _OVERTAKEN):
                    raise
            return self._alone(connection, operation)

    def write_items(self, work: Work[Item, Result]) -> list[Result]:
        """Run an operation on items."""
        result_of = self.write(work)
        return [result_of(place) for place in range(len(work.items))]

    @contextmanager
    def schema(self) -> Iterator[Connection]:
        """Open a transaction for the tables themselves; nobody else writes while it lasts."""
        engine = create_engine(self._url, poolclass=NullPool)
        with engine.begin() as connection:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
            yield connection

    @staticmethod
    def _together(
        connection: psycopg.Connection[Any], operation: Callable[[Transaction], Result]
    ) -> Result:
        transaction = Together(connection)
        result = operation(transaction)
        transaction.commit()
        return result

    @staticmethod
    def _alone(
        connection: psycopg.Connection[Any], operation: Callable[[Transaction], Result]
    ) -> Result:
        try:
            connection.execute("BEGIN")
            connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
            connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK})")
            result = operation(Alone(connection))
            connection.execute("COMMIT")
        except BaseException:
            _roll_back(connection)
            raise
        return result

    @contextmanager
    def _connection(self) -> Iterator[psycopg.Connection[Any]]:
        pooled: Any = self.engine.raw_connection()
        connection: psycopg.Connection[Any] = pooled.driver_connection
        is_sound = False
        try:
            yield connection
            is_sound = True
        except Exception:
            is_sound = connection.info.transaction_status == TransactionStatus.IDLE
            raise
        finally:
            # Ctrl-C may leave a transaction open, or an answer that nobody has read.
            if not is_sound:
                pooled.invalidate()
            pooled.close()


def _roll_back(connection: psycopg.Connection[Any]) -> None:
    """End a transaction without its changes; a connection that is gone has done that already."""
    if not connection.closed and not connection.broken:
        try:
            connection.rollback()
        except psycopg.Error:
            # Ctrl-C left an answer that nobody has read: without us, the server rolls back.
            connection.close()


@cache
def _native(statement: str) -> str:
    """Write `:name` parameters as the driver wants them."""
    return _PARAMETER.sub(r"%(\1)s", statement.replace("%", "%%"))


@cache
def _expecting(statement: str, expected: int, *, returns: bool) -> str:
    """Let a statement undo its transaction if it changes another number of rows."""
    if not returns:
        statement = f"{statement} RETURNING 1"
    return (
        f"WITH done AS ({statement}) SELECT done.*,"
        f" kling_ledger_expect((SELECT count(*) FROM done), {expected}) AS is_expected"
        " FROM (SELECT 1) AS one LEFT JOIN done ON true"
    )


def _joined(inserts: Sequence[_Change]) -> Iterator[_Change]:
    """Join inserts into one statement: each statement costs a message of its own."""
    if inserts:
        statement = _one_statement(tuple(statement for statement, _, _ in inserts))
        yield statement, [value for _, values, _ in inserts for value in values], None


@cache
def _one_statement(inserts: tuple[str, ...]) -> str:
    earlier = [f"_{place} AS ({insert})" for place, insert in enumerate(inserts[:-1])]
    return f"WITH {', '.join(earlier)} {inserts[-1]}" if earlier else inserts[-1]


@cache
def _insert(table: type[SQLModel]) -> str:
    columns = columns_of(table)
    marks = ", ".join(["%s"] * len(columns))
    return f"INSERT INTO {table.__tablename__} ({', '.join(columns)}) VALUES ({marks})"


@cache
def _insert_many(table: type[SQLModel]) -> str:
    columns = columns_of(table)
    arrays = ", ".join(f"%s::{_sql_type(table, column)}[]" for column in columns)
    return (
        f"INSERT INTO {table.__tablename__} ({', '.join(columns)}) SELECT * FROM unnest({arrays})"
    )


def _update(
    table: type[SQLModel],
    known: tuple[str, ...],
    columns: tuple[str, ...],
    rows: Sequence[tuple[Any, ...]],
) -> tuple[str, Any]:
    if len(rows) == 1:
        return _update_one(table, known, columns), rows[0]
    arrays: list[list[Any]] = [list(column) for column in zip(*rows, strict=True)]
    return _update_many(table, known, columns), arrays


@cache
def _update_one(table: type[SQLModel], known: tuple[str, ...], columns: tuple[str, ...]) -> str:
    settings = ", ".join(f"{column} = %s" for column in columns)
    conditions = " AND ".join(f"{column} = %s" for column in known)
    return f"UPDATE {table.__tablename__} SET {settings} WHERE {conditions}"


@cache
def _update_many(table: type[SQLModel], known: tuple[str, ...], columns: tuple[str, ...]) -> str:
    name = table.__tablename__
    arrays = ", ".join(f"%s::{_sql_type(table, column)}[]" for column in (*columns, *known))
    aliases = ", ".join((*(f"new_{column}" for column in columns), *known))
    settings = ", ".join(f"{column} = given.new_{column}" for column in columns)
    conditions = " AND ".join(f"{name}.{column} = given.{column}" for column in known)
    return (
        f"UPDATE {name} SET {settings} FROM unnest({arrays}) AS given({aliases}) WHERE {conditions}"
    )


def _sql_type(table: type[SQLModel], column: str) -> str:
    kind = sql_table(table).columns[column].type
    if isinstance(kind, BigInteger):
        return "bigint"
    return "boolean" if isinstance(kind, Boolean) else "text"


def _engine(url: URL) -> Engine:
    engine = create_engine(url, pool_size=8, max_overflow=24, pool_reset_on_return=None)
    event.listen(engine, "connect", _configure)
    return engine


def _configure(connection: psycopg.Connection[Any], _record: object) -> None:
    # The driver must not open transactions by itself: who begins decides which kind it is.
    connection.autocommit = True


def _shown(url: URL) -> str:
    """Write an address for people, without its password."""
    query = {
        name: "***" if "password" in name.lower() else text for name, text in url.query.items()
    }
    return url.set(query=query).render_as_string(hide_password=True)
