"""The database under the ledger: opening it, its schema, and its transactions."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from sqlalchemy import Connection, inspect, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import SQLModel

from kling_ledger.errors import (
    ConfigError,
    DatabaseError,
    NewerSchemaError,
    NoLedgerError,
    OlderSchemaError,
)
from kling_ledger.ledger.engines.sqlite import SqliteFile
from kling_ledger.ledger.engines.transaction import Decide, Stamp, Transaction
from kling_ledger.ledger.tables import SCHEMA_VERSION, VERSION_TABLE, guards

if TYPE_CHECKING:
    from kling_ledger.ledger.engines.postgres import PostgresServer

Item = TypeVar("Item")
Result = TypeVar("Result")

_FIRST: Final = "0001"
_FIRST_TABLE: Final = "ledger_schema"
"""What a database of the first schema has in place of VERSION_TABLE."""

_VERSION: Final = f"""
CREATE TABLE {VERSION_TABLE} (
    version_num VARCHAR(32) NOT NULL, CONSTRAINT {VERSION_TABLE}_pkc PRIMARY KEY (version_num)
)
"""
"""The table as Alembic would make it, which goes on from here."""


class Database:
    """An open ledger database. Made if it is new; refused if it is something else.

    With `any_version`, one of another version is opened too: to be asked about, or upgraded.
    """

    def __init__(self, url: str, *, create: bool = True, any_version: bool = False) -> None:
        self._engine = _engine_of(url, create=create)
        self._process = os.getpid()
        self._is_closed = False
        # Ctrl-C and a refusal are no errors of the database: without a handler of somebody's own,
        # the libraries would print what they think of them.
        for library in ("sqlalchemy", "psycopg"):
            logging.getLogger(library).addHandler(logging.NullHandler())
        self.url = url
        self.name = self._engine.name
        try:
            with self._translated():
                self._prepare(create=create, any_version=any_version)
        except BaseException:
            self.close()
            raise

    @property
    def engine(self) -> SqliteFile | PostgresServer:
        """What reaches the database.

        Raises DatabaseError once the ledger is closed, and in a forked process: that has its
        parent's connections and none of its threads, and to SQLite every lock that the parent held
        at that moment is held for ever.
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
        """Write what waits to be written and give back every connection; nothing works after."""
        self._is_closed = True
        if os.getpid() == self._process:
            self._engine.close()

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """Open a transaction that sees one consistent state and writes nothing."""
        with self._translated(), self.engine.read() as transaction:
            yield transaction

    def write(self, operation: Callable[[Transaction], Result]) -> Result:
        """Run an operation in a transaction: all of it happens, or nothing where it raises.

        An operation may be run more than once before it takes effect once: it changes nothing but
        the database.
        """
        with self._translated():
            return self.engine.write(operation)

    def write_many(
        self, decide: Decide[Item, Result], items: Sequence[Item], *, stamp: Stamp
    ) -> list[Result]:
        """Run an operation on items in a transaction; its results come once it has ended.

        Where many threads write at a time, the items of those with the same `decide` may be written
        as one, under the stamp of the first.
        """
        with self._translated():
            return self.engine.write_many(decide, items, stamp)

    def version(self) -> str | None:
        """Return the migration that the database has reached, None if it is empty."""
        with self._translated(), self.engine.schema() as connection:
            return schema_version(connection, self.name)

    def upgrade(self) -> str:
        """Bring the tables to what this program needs; return the version that they had before.

        All of it happens or nothing: an upgrade that is interrupted leaves the older version.
        """
        from kling_ledger.ledger.engines.migrations import upgrade

        with self._translated(), self.engine.schema() as connection:
            before = schema_version(connection, self.name)
            if before is None:
                raise NoLedgerError(self.name)
            if before > SCHEMA_VERSION:
                raise NewerSchemaError(self.name, version=before, needed=SCHEMA_VERSION)
            tells_version = VERSION_TABLE in inspect(connection).get_table_names()
            if before < SCHEMA_VERSION:
                upgrade(connection, to=SCHEMA_VERSION, reached=None if tells_version else before)
        return before

    def _prepare(self, *, create: bool, any_version: bool) -> None:
        version = self._version_at_rest()
        if version is None and create:
            with self.engine.schema() as connection:
                # Another process may have made the tables since: look again, now with the lock.
                version = schema_version(connection, self.name) or _create_schema(connection)
        if version is None:
            raise NoLedgerError(self.name)
        if not any_version:
            check_version(version, self.name)
        if isinstance(self.engine, SqliteFile):
            self.engine.use_write_ahead_log()

    def _version_at_rest(self) -> str | None:
        """Return the version without a lock: the common case, and the quick one."""
        with self.engine.read() as transaction:
            try:
                found = transaction.row(f"SELECT version_num FROM {VERSION_TABLE}")
            except Exception as error:
                if not _is_missing_table(error):
                    raise
                found = None
        if found is not None:
            return str(found["version_num"])
        with self.engine.schema() as connection:
            return schema_version(connection, self.name)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn what a driver raises into our own error: the one seam where this happens."""
        try:
            yield
        except sqlite3.Error as error:
            raise _translation(self.name, error) from error
        except SQLAlchemyError as error:
            raise _translation(self.name, getattr(error, "orig", None) or error) from error
        except OSError as error:
            raise DatabaseError(f"{self.name}: {error.strerror or error}") from error
        except UnicodeEncodeError as error:
            raise ConfigError(
                f"{error.object!a} holds what is no character", hint="write it in UTF-8"
            ) from None
        except Exception as error:
            if type(error).__module__.partition(".")[0] != "psycopg":
                raise
            raise _translation(self.name, error) from error


def schema_version(connection: Connection, name: str) -> str | None:
    """Return the migration that a database has reached, None if it is empty.

    Raises DatabaseError for a database of something else.
    """
    tables = set(inspect(connection).get_table_names())
    if VERSION_TABLE in tables:
        found = connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalar()
        return str(found)
    if _FIRST_TABLE in tables:
        return _FIRST
    if tables:
        raise DatabaseError(
            f"{name} is a database of something else",
            hint="name another one with --db or KLING_LEDGER_DB",
        )
    return None


def _create_schema(connection: Connection) -> str:
    SQLModel.metadata.create_all(connection)
    for statement in (
        *guards(connection.dialect.name),
        "INSERT INTO rules (id, version) VALUES (1, 1)",
        _VERSION,
        f"INSERT INTO {VERSION_TABLE} (version_num) VALUES ('{SCHEMA_VERSION}')",
    ):
        connection.exec_driver_sql(statement)
    return SCHEMA_VERSION


def check_version(version: str, name: str) -> None:
    """Refuse a database of another version: OlderSchemaError or NewerSchemaError say what to do."""
    if version < SCHEMA_VERSION:
        raise OlderSchemaError(name, version=version, needed=SCHEMA_VERSION)
    if version > SCHEMA_VERSION:
        raise NewerSchemaError(name, version=version, needed=SCHEMA_VERSION)


def _engine_of(url: str, *, create: bool) -> SqliteFile | PostgresServer:
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
    return PostgresServer(make_url(url))


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
