"""The database under the ledger: opening it, its schema, and its transactions."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from kling_ledger.errors import (
    ConfigError,
    DatabaseError,
    ForeignDatabaseError,
    NewerSchemaError,
    NoLedgerError,
    OlderSchemaError,
)
from kling_ledger.ledger.engines.sqlite import SqliteFile
from kling_ledger.ledger.engines.transaction import Batch, Transaction
from kling_ledger.ledger.schema import FIRST_TABLE, FIRST_VERSION, SCHEMA_VERSION, VERSION_TABLE

if TYPE_CHECKING:
    from kling_ledger.ledger.engines.awaiting import TooLate
    from kling_ledger.ledger.engines.postgres import PostgresServer

Item = TypeVar("Item")
Result = TypeVar("Result")

_TABLES: Final[Mapping[str, str]] = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite~_%'"
    " ESCAPE '~'",
    "postgresql": "SELECT tablename AS name FROM pg_tables WHERE schemaname = current_schema()",
}
"""How to list the tables on each engine."""
_VERSION: Final = f"SELECT version_num FROM {VERSION_TABLE}"


class Database:
    """An open ledger database. A missing one is created; one that holds something else is refused.

    With `any_version`, a ledger of another version is opened too, to inspect or upgrade it.
    """

    def __init__(self, url: str, *, create: bool = True, any_version: bool = False) -> None:
        self._engine = engine_of(url, create=create)
        self._process = os.getpid()
        self._is_closed = False
        # Ctrl-C and a refusal are not database errors, but without a handler the libraries would
        # print warnings about them.
        for library in ("sqlalchemy", "psycopg"):
            logging.getLogger(library).addHandler(logging.NullHandler())
        self.url = url
        self.name = self._engine.name
        try:
            with translated(self.name):
                self._prepare(create=create, any_version=any_version)
        except BaseException:
            self.close()
            raise

    @property
    def engine(self) -> SqliteFile | PostgresServer:
        """What reaches the database.

        Raises DatabaseError once the ledger is closed, and in a forked process: the child has its
        parent's connections but none of its threads, and to SQLite every lock that the parent held
        at the fork stays held.
        """
        if self._is_closed:
            raise DatabaseError(f"{self.name}: this ledger is closed")
        if os.getpid() != self._process:
            raise DatabaseError(
                f"{self.name}: this ledger was opened before the process forked",
                hint="open it after the fork, or start processes with multiprocessing's 'spawn'",
            )
        return self._engine

    def close(self) -> None:
        """Write what is waiting, and give back every connection; nothing works afterwards."""
        self._is_closed = True
        if os.getpid() == self._process:
            self._engine.close()

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """Open a transaction that sees one consistent state and writes nothing."""
        with translated(self.name), self.engine.read() as transaction:
            yield transaction

    @contextmanager
    def read_together(self, count: int) -> Iterator[Sequence[Transaction]]:
        """Open at most `count` transactions that all see one state, each for a thread of its own.

        Only a file has more than one: a server divides the work of a query itself.
        """
        with translated(self.name), ExitStack() as opened:
            if isinstance(self.engine, SqliteFile):
                yield opened.enter_context(self.engine.read_together(count))
            else:
                yield [opened.enter_context(self.engine.read())]

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """Open the database as it is at one moment: everything is read in one transaction.

        For one thread, and only for as long as it reads: until then a file's log grows.
        """
        with ExitStack() as opened:
            with translated(self.name):
                transaction = opened.enter_context(self.engine.read())
            # An error in the block, such as a full disk, is not an error of the database.
            yield Snapshot(self, transaction)

    def write(self, operation: Callable[[Transaction], Result]) -> Result:
        """Run an operation in a transaction: all of it happens, or nothing if it raises.

        An operation may run more than once before it takes effect once, so it must change nothing
        but the database.
        """
        with translated(self.name):
            return self.engine.write(operation)

    def write_batch(self, batch: Batch[Item, Result]) -> list[Result]:
        """Run an operation on items in a transaction; its results come after the end.

        If many threads write at once, items with the same `decide` may be written together, under
        the stamp of the first.
        """
        with translated(self.name):
            result_of = self.engine.write_batch(batch)
        return [result_of(place) for place in range(len(batch.items))]

    async def awrite_batch(self, batch: Batch[Item, Result]) -> tuple[list[Result], TooLate]:
        """Write a batch as `write_batch` does, while the event loop goes on.

        Also returns a cancellation that came when it had begun, to be raised by the caller.
        """
        # asyncio takes its time to load, and few scripts need it.
        from kling_ledger.ledger.engines.awaiting import written

        with translated(self.name):
            result_of, too_late = await written(self.engine.writer_of(batch), batch)
        return [result_of(place) for place in range(len(batch.items))], too_late

    def version(self) -> str | None:
        """Return the migration that the database has reached, None if it is empty."""
        with translated(self.name):
            return self._version_at_rest()

    def upgrade(self) -> str:
        """Upgrade the tables to this program's version; return the version that they had before.

        All or nothing: an interrupted upgrade leaves the older version.
        """
        from kling_ledger.ledger.engines.creation import upgrade_schema

        with translated(self.name), self.engine.schema() as connection:
            return upgrade_schema(connection, self.name)

    def _prepare(self, *, create: bool, any_version: bool) -> None:
        version = self._version_at_rest()
        if version is None and create:
            from kling_ledger.ledger.engines.creation import create_schema, schema_version

            with self.engine.schema() as connection:
                # Another process may have created the tables: look again, now with the lock.
                version = schema_version(connection, self.name) or create_schema(connection)
        if version is None:
            raise NoLedgerError(self.name)
        if not any_version:
            check_version(version, self.name)
        if any_version:
            return
        if not isinstance(self.engine, SqliteFile):
            self.engine.check()
        elif not self.engine.is_read_only:
            self.engine.use_write_ahead_log()

    def _version_at_rest(self) -> str | None:
        """Return the version, read without a lock; None for an empty database."""
        try:
            with self.engine.read() as transaction:
                found = transaction.row(_VERSION)
        except Exception as error:
            if not _is_missing_table(error):
                raise
            found = None
        if found is not None:
            return str(found["version_num"])
        with self.engine.read() as transaction:
            tables = {row["name"] for row in transaction.rows(_TABLES[self.engine.dialect])}
            # Another process may have created them since: then the version is there now.
            found = transaction.row(_VERSION) if VERSION_TABLE in tables else None
        if found is not None:
            return str(found["version_num"])
        if FIRST_TABLE in tables:
            return FIRST_VERSION
        if tables:
            raise ForeignDatabaseError(self.name)
        return None


class Snapshot(Database):
    """A database as it was at one moment, to be read: see Database.snapshot."""

    def __init__(self, database: Database, transaction: Transaction) -> None:
        self._engine = database.engine
        self._process = os.getpid()
        self._is_closed = False
        self._transaction = transaction
        self.url = database.url
        self.name = database.name

    def close(self) -> None:
        """Do nothing: whoever opened the database closes it."""

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """Return the one transaction."""
        with translated(self.name):
            yield self._transaction

    @contextmanager
    def read_together(self, count: int) -> Iterator[Sequence[Transaction]]:  # noqa: ARG002
        """Give the one transaction: others would see another state."""
        with self.read() as transaction:
            yield [transaction]


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Turn a driver's exceptions into our own errors: this happens only here."""
    try:
        yield
    except sqlite3.Error as error:
        raise _translation(name, error) from error
    except OSError as error:
        raise DatabaseError(f"{name}: {error.strerror or error}") from error
    except UnicodeEncodeError as error:
        raise ConfigError(
            f"{error.object!a} contains an invalid character", hint="write it in UTF-8"
        ) from None
    except Exception as error:
        # By their names: SQLAlchemy and psycopg are loaded only where they are used.
        if type(error).__module__.partition(".")[0] not in {"sqlalchemy", "psycopg"}:
            raise
        raise _translation(name, getattr(error, "orig", None) or error) from error


def check_version(version: str, name: str) -> None:
    """Raise OlderSchemaError or NewerSchemaError, which say what to do, for another version."""
    if version < SCHEMA_VERSION:
        raise OlderSchemaError(name, version=version, needed=SCHEMA_VERSION)
    if version > SCHEMA_VERSION:
        raise NewerSchemaError(name, version=version, needed=SCHEMA_VERSION)


def engine_of(url: str, *, create: bool = True) -> SqliteFile | PostgresServer:
    """Return what reaches a database; does not connect yet."""
    if url.startswith("sqlite:///"):
        path = Path(url.removeprefix("sqlite:///"))
        if not create and not path.exists():
            raise NoLedgerError(path)
        return SqliteFile(path)
    try:
        from kling_ledger.ledger.engines.postgres import PostgresServer
    except ImportError:
        raise ConfigError(
            "PostgreSQL needs its driver", hint="pip install 'kling-ledger[postgres]'"
        ) from None
    return PostgresServer(url)


def _is_missing_table(error: Exception) -> bool:
    return "no such table" in str(error) or getattr(error, "sqlstate", None) == "42P01"


def _translation(name: str, error: BaseException) -> DatabaseError:
    sentence = " ".join(str(error).split())
    return DatabaseError(f"{name}: {sentence}", retryable=_may_pass(error))


def _may_pass(error: BaseException) -> bool:
    """Whether the same call may work later: another process is busy, the server is away."""
    sqlstate = getattr(error, "sqlstate", None)
    if sqlstate is not None:
        return str(sqlstate)[:2] in {"08", "40", "53", "55", "57"}
    return (
        "locked" in str(error)
        or "connect" in type(error).__name__.lower()
        or (
            type(error).__name__ in {"OperationalError", "ConnectionTimeout"}
            and type(error).__module__.startswith("psycopg")
        )
    )
