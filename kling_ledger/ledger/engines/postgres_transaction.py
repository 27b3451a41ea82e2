"""Transactions on PostgreSQL: one is sent whole at its end, one waits for each answer.

BEGIN and COMMIT are part of the message. Without them a message is one transaction on PostgreSQL
only: on a distributed engine its statements took effect one by one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import chain, count
from typing import Any, Final, TypeVar
from zlib import crc32

from kling_ledger.ledger.engines.lost import Mark, mark_of
from kling_ledger.ledger.engines.pipeline import Pipeline, Statement
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

Result = TypeVar("Result")

LOCK_S: Final = 4
"""How long a transaction waits for a lock before it is undone, reported and retried."""

_LOCK: Final = 0x6B6C696E67
"""The key of the advisory lock that the transactions of a ledger share, in the schema `public`."""

_BEGIN: Final = ("BEGIN ISOLATION LEVEL READ COMMITTED", ())
_COMMIT: Final = ("COMMIT", ())
_LIMITS: Final = (
    # A transaction that waits for a lock is undone and reported. A client that stops in the middle
    # of one is disconnected, so that nobody waits for it. COMMIT has no time limit on the server:
    # cut short, it would report success before the replica has the data.
    f"SELECT set_config('lock_timeout', '{LOCK_S}s', true),"
    " set_config('idle_in_transaction_session_timeout', '10s', true),"
    " set_config('statement_timeout', '0', true)"
)
_FEW: Final = 4
"""Up to this many rows are written out in a statement; more are sent as one array per column."""
_PARAMETER: Final = re.compile(r"(?<![:\w]):(\w+)")


class PostgresTransaction(Transaction):
    """A transaction on one connection; the two kinds differ in when changes are sent.

    `mark` is a row that shows afterwards whether it was done.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        super().__init__()
        self._pipeline = pipeline
        self._cursors = count()
        self.place = pipeline.place
        self.mark: Mark | None = None

    @staticmethod
    def json_array(texts: Sequence[str]) -> str:
        """Combine text expressions into one: a JSON array without spaces."""
        return f"CAST(array_to_json(ARRAY[{', '.join(texts)}]) AS text)"

    def rows(self, statement: str, **values: Any) -> list[Row]:
        """Run a query and return its rows."""
        return self._pipeline.run(_native(statement, values))[0].rows()

    def batches(self, statement: str, size: int, **values: Any) -> Iterator[list[tuple[Any, ...]]]:
        """Run a query and yield its rows as plain values, at most `size` in memory at a time."""
        text, given = _native(statement, values)
        # Named by its text: a prepared FETCH keeps its columns in the next transaction.
        cursor = f"rows_{crc32(text.encode()):08x}_{next(self._cursors)}"
        self._pipeline.run((f"DECLARE {cursor} NO SCROLL CURSOR FOR {text}", given))
        while rows := self._pipeline.run((f"FETCH {size} FROM {cursor}", ()))[0].tuples():
            yield rows
        self._pipeline.run((f"CLOSE {cursor}", ()))


class Alone(PostgresTransaction):
    """A transaction with no other writers: each statement is answered at once."""

    is_exclusive = True

    def begin(self) -> None:
        """Wait until nobody else writes."""
        self._pipeline.run(_BEGIN, _lonely_lock(self._pipeline.schema))

    def commit(self) -> None:
        """Make everything that was done take effect."""
        self._pipeline.run(_COMMIT)

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
            self.mark = self.mark or mark_of(table, rows[0])
            self._pipeline.run(_insert(table, rows))

    def update(
        self,
        table: Table,
        updates: Sequence[Update],
        *,
        refused: Refusal,
    ) -> None:
        """Update one row per update."""
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
    """A transaction that sends all its changes at its end, in one round trip.

    They do not depend on each other, so they are sent in a fixed order: first the rows that only
    this operation writes, last the balances that others wait for.
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
        """Keep a statement for the end; only then does the returned list get its rows."""
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
            self.mark = self.mark or mark_of(table, rows[0])
            self._inserts.append(_insert(table, rows))

    def update(
        self,
        table: Table,
        updates: Sequence[Update],
        *,
        refused: Refusal,  # noqa: ARG002 - who is alone says why
    ) -> None:
        """Update one row per update."""
        text, given = _update(table, updates)
        self._updates.append((_expecting(text, len(updates), returns=False), given))

    def assume(self, query: str, value: int) -> None:
        """Undo the transaction unless the query still returns this value."""
        self._assumed.append((f"SELECT kling_ledger_expect(({query}), $1)", (value,)))

    def attempt(self, operation: Callable[[], Result]) -> Result:
        """Run a part of an operation; if it is refused, the whole operation runs again alone."""
        return operation()

    def commit(self) -> None:
        """Send everything and wait once. Anything unexpected undoes all of it."""
        changes = [*self._inserts, *self._updates, *self._changes]
        if not changes:
            return
        begin = (_BEGIN, _shared_lock(self._pipeline.schema))
        *answers, _ = self._pipeline.run(*begin, *self._assumed, *changes, _COMMIT)
        for returned, answer in zip(reversed(self._returned), reversed(answers), strict=False):
            if returned is not None:
                returned.extend(answer.rows())


@cache
def _shared_lock(schema: str) -> Statement:
    """Set the limits of a transaction, and share the lock that an exclusive one takes alone."""
    return f"{_LIMITS}, pg_advisory_xact_lock_shared({lock_key(schema)})", ()


@cache
def _lonely_lock(schema: str) -> Statement:
    return f"{_LIMITS}, pg_advisory_xact_lock({lock_key(schema)})", ()


def lock_key(schema: str) -> int:
    """Return the key of the lock that a ledger's transactions share: each schema has its own."""
    return _LOCK if schema == "public" else _LOCK + (crc32(schema.encode()) << 31)


def _native(statement: str, values: Values) -> Statement:
    """Rewrite `:name` parameters as the server expects them."""
    names, text = _numbered(statement)
    return text, [values[name] for name in names]


@cache
def _numbered(statement: str) -> tuple[tuple[str, ...], str]:
    names = tuple(dict.fromkeys(_PARAMETER.findall(statement)))
    return names, _PARAMETER.sub(lambda found: f"${names.index(found[1]) + 1}", statement)


@cache
def _expecting(statement: str, expected: int, *, returns: bool) -> str:
    """Make a statement undo its transaction if it changes another number of rows."""
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
    columns = ", ".join(table.columns)
    return (
        f"INSERT INTO {table.name} ({columns})"
        f" SELECT {columns} FROM unnest({arrays}) AS given({columns})"
    )


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
