"""The database under the ledger: opening it, its schema, and its transactions.

SQLite in WAL mode with `synchronous=FULL`: what was acknowledged survives a power cut. A writing
transaction takes the write lock when it begins, so that nothing is read and then overtaken.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlmodel import SQLModel

from kling_ledger.errors import DatabaseError, NoLedgerError
from kling_ledger.ledger.tables import APPEND_ONLY, OPEN_INDEX, SCHEMA_VERSION, SchemaRow

BUSY_TIMEOUT_S: Final = 30
"""How long a transaction waits for another process to finish its own."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """One open transaction. Statements are plain SQL with `:name` parameters."""

    connection: Connection

    def run(self, statement: str, **values: Any) -> int:
        """Run a statement and return how many rows it changed."""
        return self.connection.exec_driver_sql(statement, values).rowcount

    def rows(self, statement: str, **values: Any) -> list[dict[str, Any]]:
        """Run a query and return its rows, each as a dict by column name."""
        result = self.connection.exec_driver_sql(statement, values)
        return [dict(row) for row in result.mappings()]

    def row(self, statement: str, **values: Any) -> dict[str, Any] | None:
        """Run a query and return its first row, or None."""
        found = self.connection.exec_driver_sql(statement, values).mappings().first()
        return None if found is None else dict(found)


class Database:
    """An open ledger database. Made if it is new; refused if it is something else."""

    def __init__(self, url: str, *, create: bool = True) -> None:
        self.url = url
        path = Path(url.removeprefix("sqlite:///"))
        if not create and not path.exists():
            raise NoLedgerError(path)
        self._engine = _engine(path)
        try:
            with _translated(url):
                self._prepare()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give back every connection."""
        self._engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """Open a transaction that sees one consistent state and writes nothing."""
        with _translated(self.url), self._engine.begin() as connection:
            yield Transaction(connection)

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """Open a transaction that writes: all of it on a normal exit, nothing on an exception."""
        writer = self._engine.execution_options(ledger_writes=True)
        with _translated(self.url), writer.begin() as connection:
            yield Transaction(connection)

    def _prepare(self) -> None:
        with self.read() as transaction:
            version = _schema_version(transaction, self.url)
        if version is None:
            with self.write() as transaction:
                # Another process may have made the tables since: look again, now with the lock.
                version = _schema_version(transaction, self.url) or _create_schema(transaction)
        if version != SCHEMA_VERSION:
            raise DatabaseError(
                f"{self.url} has schema version {version}, this program needs {SCHEMA_VERSION}",
                hint="use the version of kling-ledger that wrote it",
            )
        _use_write_ahead_log(self._engine)


def _schema_version(transaction: Transaction, url: str) -> int | None:
    """Return the version of the ledger's tables, None for an empty database."""
    tables = set(inspect(transaction.connection).get_table_names())
    if not tables:
        return None
    if SchemaRow.__tablename__ not in tables:
        raise DatabaseError(
            f"{url} is a database of something else",
            hint="name another file with --db or KLING_LEDGER_DB",
        )
    found = transaction.row("SELECT version FROM ledger_schema")
    return found["version"] if found else 0


def _create_schema(transaction: Transaction) -> int:
    SQLModel.metadata.create_all(transaction.connection)
    for statement in (OPEN_INDEX, *APPEND_ONLY):
        transaction.run(statement)
    transaction.run("INSERT INTO ledger_schema (version) VALUES (:version)", version=SCHEMA_VERSION)
    return SCHEMA_VERSION


def _engine(path: Path) -> Engine:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatabaseError(f"cannot make the folder of {path}: {error.strerror}") from None
    # Built from its parts: in an address a file's name could be taken for options.
    address = URL.create("sqlite", database=str(path))
    engine = create_engine(address, connect_args={"timeout": BUSY_TIMEOUT_S})
    # Ctrl-C in the middle of a call is not an error: without a handler of somebody's own, its
    # pool would print a trace of it.
    logging.getLogger("sqlalchemy").addHandler(logging.NullHandler())
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    return engine


def _configure(connection: sqlite3.Connection, _record: object) -> None:
    # The driver must not open transactions by itself: `_begin` decides which kind it is.
    connection.isolation_level = None
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _use_write_ahead_log(engine: Engine) -> None:
    """Switch a database that is ours to WAL, for good; every later opening finds it done."""
    give_up_at = time.monotonic() + BUSY_TIMEOUT_S
    connection = engine.raw_connection()
    try:
        while connection.cursor().execute("PRAGMA journal_mode").fetchone() != ("wal",):
            try:
                connection.cursor().execute("PRAGMA journal_mode=WAL")
            except sqlite3.OperationalError:
                # SQLite does not wait for others here: its busy time-out covers transactions.
                if time.monotonic() >= give_up_at:
                    raise
                time.sleep(0.01)
    except sqlite3.Error as error:
        raise DatabaseError(f"{engine.url.database}: {error}") from error
    finally:
        connection.close()


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("ledger_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def _translated(url: str) -> Iterator[None]:
    """Turn what the driver raises into our own error: the one seam where this happens."""
    try:
        yield
    except DBAPIError as error:
        is_locked = "locked" in str(error.orig)
        raise DatabaseError(f"{url}: {error.orig}", retryable=is_locked) from error
    except SQLAlchemyError as error:
        raise DatabaseError(f"{url}: {error}") from error
