"""PostgreSQL: a server, many clients, READ COMMITTED, one round trip for most transactions.

An operation is tried first without waiting: it reads, then all its changes are sent in one message,
which is one transaction, and a change that misses its expectation undoes it. What goes wrong there
is decided by running it again alone, where nothing that was read can be overtaken. Being alone is a
lock that every transaction of a ledger shares and the lonely one takes whole.

There is no thread that writes for all, as a file has one: the server lets transactions of other
wallets run side by side, which one queue in front of it would undo. Whoever is interrupted gives up
the connection, and the server undoes what it had not committed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import chain, count
from typing import Any, Final, TypeVar

import psycopg
from psycopg import errors as pg_errors
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.pool import NullPool

from kling_ledger.ledger.engines.pipeline import Pipeline, Statement
from kling_ledger.ledger.engines.spares import Spares
from kling_ledger.ledger.engines.transaction import (
    Decide,
    Refusal,
    Row,
    Stamp,
    Transaction,
    Update,
    Values,
    names_of,
    values_of,
)
from kling_ledger.ledger.schema import EXPECTATION_FAILED, Table
from kling_pricing.errors import KlingError

Item = TypeVar("Item")
Result = TypeVar("Result")

_LOCK: Final = 0x6B6C696E67
"""The key of the advisory lock that a ledger's transactions share."""
_SHARE_LOCK: Final = (f"SELECT pg_advisory_xact_lock_shared({_LOCK})", ())
_BEGIN_ALONE: Final = (
    ("BEGIN", ()),
    ("SET LOCAL lock_timeout = '30s'", ()),
    (f"SELECT pg_advisory_xact_lock({_LOCK})", ()),
)
_FEW: Final = 4
"""Up to how many rows are written out in a statement; more of them go as one array a column."""
_PARAMETER: Final = re.compile(r"(?<![:\w]):(\w+)")

_OVERTAKEN: Final = (
    # A constraint may speak before the expectation that somebody else has overtaken does.
    pg_errors.IntegrityError,
    pg_errors.SerializationFailure,
    pg_errors.DeadlockDetected,
)


class PostgresTransaction(Transaction):
    """A transaction on one connection; the two kinds differ in when changes are sent."""

    def __init__(self, pipeline: Pipeline) -> None:
        super().__init__()
        self._pipeline = pipeline
        self.place = pipeline.place

    def rows(self, statement: str, **values: Any) -> list[Row]:
        """Run a query and return its rows."""
        return self._pipeline.run(_native(statement, values))[0].rows()


class Alone(PostgresTransaction):
    """A transaction beside which no other writes: each statement is answered at once."""

    is_exclusive = True

    def change(
        self, statement: str, values: Values, *, expect: int | None, refused: Refusal
    ) -> list[Row]:
        """Run a statement at once and return what it returns."""
        [answer] = self._pipeline.run(_native(statement, values))
        if expect is not None and answer.count != expect:
            raise refused()
        return answer.rows()

    def insert(self, table: Table, rows: Sequence[Row]) -> None:
        """Insert rows."""
        if rows:
            self._pipeline.run(_insert(table, rows))

    def update(
        self,
        table: Table,
        updates: Sequence[Update],
        *,
        refused: Refusal,
    ) -> None:
        """Update one row each."""
        [answer] = self._pipeline.run(_update(table, updates))
        if answer.count != len(updates):
            raise refused()

    def assume(self, query: str, value: int) -> None:
        """Do nothing: what was read stays true."""

    def attempt(self, operation: Callable[[], Result]) -> Result:
        """Run a part of an operation; if it raises, the rest of the transaction stands."""
        self._pipeline.run(("SAVEPOINT attempt", ()))
        try:
            result = operation()
        except BaseException:
            self._pipeline.run(("ROLLBACK TO attempt", ()))
            raise
        self._pipeline.run(("RELEASE attempt", ()))
        return result


class Together(PostgresTransaction):
    """A transaction whose changes are all sent at its end, in one round trip.

    They do not depend on one another, so they are sent in an order of their own: first the rows
    that are this operation's alone, last the balances that others wait for.
    """

    is_exclusive = False

    def __init__(self, pipeline: Pipeline) -> None:
        super().__init__(pipeline)
        self._assumed: list[Statement] = []
        self._inserts: list[Statement] = []
        self._updates: list[Statement] = []
        self._changes: list[Statement] = []
        self._returned: list[list[Row] | None] = []

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
        text, given = _native(statement, values)
        if expect is not None:
            text = _expecting(text, expect, returns=returns)
        self._changes.append((text, given))
        self._returned.append(returned if returns else None)
        return returned

    def insert(self, table: Table, rows: Sequence[Row]) -> None:
        """Insert rows."""
        if rows:
            self._inserts.append(_insert(table, rows))

    def update(
        self,
        table: Table,
        updates: Sequence[Update],
        *,
        refused: Refusal,  # noqa: ARG002 - who is alone says why
    ) -> None:
        """Update one row each."""
        text, given = _update(table, updates)
        self._updates.append((_expecting(text, len(updates), returns=False), given))

    def assume(self, query: str, value: int) -> None:
        """Undo the transaction unless a query still gives one value."""
        self._assumed.append((f"SELECT kling_ledger_expect(({query}), $1)", (value,)))

    def attempt(self, operation: Callable[[], Result]) -> Result:
        """Run a part of an operation; if any of it is refused, all of it is run again alone."""
        return operation()

    def commit(self) -> None:
        """Send everything and wait once. Whatever is not as expected undoes all of it.

        What is sent in one pipeline is one transaction to the server, without a BEGIN or COMMIT.
        """
        changes = [*self._inserts, *self._updates, *self._changes]
        if not changes:
            return
        answers = self._pipeline.run(_SHARE_LOCK, *self._assumed, *changes)
        for returned, answer in zip(reversed(self._returned), reversed(answers), strict=False):
            if returned is not None:
                returned.extend(answer.rows())


class PostgresServer:
    """A ledger's database on a server."""

    dialect: Final = "postgresql"

    def __init__(self, address: str) -> None:
        url = make_url(address)
        self.name = _shown(url)
        self._url = url
        self.engine = _engine(url)
        self._pipelines = Spares(self._connect, is_idle=lambda pipeline: pipeline.is_idle)

    def close(self) -> None:
        """Give back every connection."""
        self._pipelines.close()
        self.engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """Open a transaction that sees one consistent state and writes nothing."""
        with self._pipelines.lent() as pipeline:
            pipeline.run(("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", ()))
            try:
                yield Alone(pipeline)
            finally:
                pipeline.roll_back()

    def write(self, operation: Callable[[Transaction], Result]) -> Result:
        """Run an operation in a transaction: all of it happens, or nothing where it raises."""
        with self._pipelines.lent() as pipeline:
            try:
                return self._together(pipeline, operation)
            except KlingError:
                # Whatever is refused may be a call that was made before: only a key would tell.
                pass
            except psycopg.Error as error:
                if error.sqlstate != EXPECTATION_FAILED and not isinstance(error, _OVERTAKEN):
                    raise
            return self._alone(pipeline, operation)

    def write_many(
        self, decide: Decide[Item, Result], items: Sequence[Item], stamp: Stamp
    ) -> list[Result]:
        """Run an operation on items."""
        result_of = self.write(lambda transaction: decide(transaction, items, stamp))
        return [result_of(place) for place in range(len(items))]

    @contextmanager
    def schema(self) -> Iterator[Connection]:
        """Open a transaction for the tables themselves; nobody else writes while it lasts."""
        engine = create_engine(self._url, poolclass=NullPool)
        with engine.begin() as connection:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
            yield connection

    @staticmethod
    def _together(pipeline: Pipeline, operation: Callable[[Transaction], Result]) -> Result:
        transaction = Together(pipeline)
        result = operation(transaction)
        transaction.commit()
        return result

    @staticmethod
    def _alone(pipeline: Pipeline, operation: Callable[[Transaction], Result]) -> Result:
        try:
            pipeline.run(*_BEGIN_ALONE)
            result = operation(Alone(pipeline))
            pipeline.run(("COMMIT", ()))
        except BaseException:
            pipeline.roll_back()
            raise
        return result

    def _connect(self) -> Pipeline:
        pooled: Any = self.engine.raw_connection()
        connection: psycopg.Connection[Any] = pooled.driver_connection
        pooled.detach()
        return Pipeline(connection)


def _native(statement: str, values: Values) -> Statement:
    """Write `:name` parameters as the server wants them."""
    names, text = _numbered(statement)
    return text, [values[name] for name in names]


@cache
def _numbered(statement: str) -> tuple[tuple[str, ...], str]:
    names = tuple(dict.fromkeys(_PARAMETER.findall(statement)))
    return names, _PARAMETER.sub(lambda found: f"${names.index(found[1]) + 1}", statement)


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


def _insert(table: Table, rows: Sequence[Row]) -> Statement:
    values = [table.in_order(row) for row in rows]
    if len(values) <= _FEW:
        return _insert_few(table, len(values)), list(chain.from_iterable(values))
    return _insert_many(table), _by_column(values)


@cache
def _insert_few(table: Table, rows: int) -> str:
    numbers = count(1)
    marks = [", ".join(f"${next(numbers)}" for _ in table.columns) for _ in range(rows)]
    columns = ", ".join(table.columns)
    return f"INSERT INTO {table.name} ({columns}) VALUES ({'), ('.join(marks)})"


@cache
def _insert_many(table: Table) -> str:
    arrays = _arrays(table, table.columns)
    return f"INSERT INTO {table.name} ({', '.join(table.columns)}) SELECT * FROM unnest({arrays})"


def _update(table: Table, updates: Sequence[Update]) -> Statement:
    known, new = names_of(updates)
    values = values_of(updates)
    if len(values) == 1:
        return _update_one(table, known, new), values[0]
    return _update_many(table, known, new), _by_column(values)


@cache
def _update_one(table: Table, known: tuple[str, ...], new: tuple[str, ...]) -> str:
    marked = [f"{column} = ${number}" for number, column in enumerate((*new, *known), 1)]
    settings, conditions = marked[: len(new)], marked[len(new) :]
    return f"UPDATE {table.name} SET {', '.join(settings)} WHERE {' AND '.join(conditions)}"


@cache
def _update_many(table: Table, known: tuple[str, ...], new: tuple[str, ...]) -> str:
    name = table.name
    arrays = _arrays(table, (*new, *known))
    aliases = ", ".join((*(f"new_{column}" for column in new), *known))
    settings = ", ".join(f"{column} = given.new_{column}" for column in new)
    conditions = " AND ".join(f"{name}.{column} = given.{column}" for column in known)
    return (
        f"UPDATE {name} SET {settings} FROM unnest({arrays}) AS given({aliases}) WHERE {conditions}"
    )


def _by_column(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _arrays(table: Table, columns: Sequence[str]) -> str:
    return ", ".join(
        f"${number}::{table.kinds[column]}[]" for number, column in enumerate(columns, 1)
    )


def _engine(url: URL) -> Engine:
    engine = create_engine(url, poolclass=NullPool)
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
