"""Backup: a whole ledger as one file, and back. Each copy is compared with its source.

What breaks without it: the file of a ledger in use is not the whole ledger. Some acknowledged
changes are in a second file beside it, and a copy of the first alone loses them. A copy of a
server's tables, read one after another, has the ends of jobs without their beginnings.

A copy is always an SQLite file, whatever its source. It holds every table in full, except what
belongs to one engine: slots are gathered, and which server passed the tests is left out.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import tempfile
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kling_ledger.errors import ForeignDatabaseError, NoLedgerError, NotEmptyError
from kling_ledger.ledger.engines.database import Database, check_version, engine_of, translated
from kling_ledger.ledger.engines.sqlite import SqliteFile
from kling_ledger.ledger.engines.sqlite_transaction import SqliteTransaction
from kling_ledger.ledger.journal import canonical_line
from kling_ledger.ledger.schema import JOB_EVENT, TRANSFER, VERSION_TABLE
from kling_ledger.ledger.slots import GATHERED
from kling_ledger.ledger.verify import Finding, verify

if TYPE_CHECKING:
    from psycopg import Connection as PostgresConnection
    from sqlalchemy import Connection

_AT_ONCE: Final = 2000
"""How many rows of a server are in memory at a time."""

_LEFT_OUT: Final[Mapping[str, str]] = {
    "setting": "name NOT IN ('engine', 'slots')",
    "slot": "1 = 0",
}
"""What belongs to one engine, by table: the condition that selects the rest."""

_FOLLOWS: Final = ("reservation_label",)
"""What the database writes by itself when reservations are inserted."""

_ORDERS: Final = ((TRANSFER, "id"), (JOB_EVENT, "reservation_id, step"))
"""The journal's tables in the order of its lines, as in `journal.canonical`."""

Rows = Generator[tuple[Any, ...], None, None]


@dataclass(frozen=True, slots=True)
class Facts:
    """What distinguishes two states of a ledger: rows by table, the last transfer, a digest.

    `digest` is the SHA-256 of the journal's canonical lines, each with its newline.
    """

    rows: Mapping[str, int]
    last_transfer: str | None
    digest: str


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy holds, and the findings of `verify` and of the comparison with its source."""

    facts: Facts
    findings: tuple[Finding, ...]


class Whole:
    """One state of a ledger, read row by row: no table is ever in memory as a whole."""

    def __init__(self, connection: sqlite3.Connection | PostgresConnection[Any]) -> None:
        self.connection = connection

    def rows(self, query: str) -> Rows:
        """Run a query and yield its rows."""
        if isinstance(self.connection, sqlite3.Connection):
            yield from self.connection.execute(query)
            return
        with self.connection.cursor(name="kling_ledger_copy") as cursor:
            cursor.itersize = _AT_ONCE
            yield from cursor.execute(query)

    def value(self, query: str) -> Any:
        """Return the single value of a query."""
        ((value,),) = self.rows(query)
        return value

    def facts(self) -> Facts:
        """Return what distinguishes this state from others."""
        return Facts(
            {table: self.value(f"SELECT COUNT(*) FROM ({query}) AS t") for table, query in _all()},
            self.value("SELECT MAX(id) FROM transfer"),
            self._digest(),
        )

    def _digest(self) -> str:
        digest = hashlib.sha256()
        for table, order in _ORDERS:
            query = f"SELECT {', '.join(table.columns)} FROM {table.name} ORDER BY {order}"
            for row in self.rows(query):
                digest.update(f"{canonical_line(row)}\n".encode())
        return digest.hexdigest()


def backup(url: str, file: Path, *, replace: bool = False) -> Copied:
    """Copy a ledger, as it is at one instant, into a new file that only its owner can read.

    Writers continue meanwhile. The file appears once it is complete. An existing file is a
    NotEmptyError, unless `replace` is set; the file of a ledger in use always is one.
    """
    _check_free(file, replace=replace)
    with closing(Database(url, create=False)) as database, _file_beside(file) as made:
        engine = database.engine
        if isinstance(engine, SqliteFile) and file.exists() and file.samefile(engine.path):
            raise NotEmptyError(file, hint="this is the ledger itself: name another file")
        with translated(database.name), engine.whole() as connection:
            source = Whole(connection)
            facts = source.facts()
            _copy(source, made)
        copied = _checked(made, facts, name=str(file))
        _put(made, file, replace=replace)
    return copied


def restore(file: Path, url: str) -> Copied:
    """Put a copy into an empty database: all of it, or nothing.

    Raises NotEmptyError if the database holds anything, NoLedgerError or ForeignDatabaseError if
    the file holds no ledger, and OlderSchemaError or NewerSchemaError for another version.
    """
    with _opened(file) as source:
        engine = engine_of(url)
        was_there = not isinstance(engine, SqliteFile) or engine.path.exists()
        try:
            with translated(engine.name):
                facts = source.facts()
                with engine.schema() as connection:
                    _check_empty(connection, engine.name)
                    _fill(connection, source)
        except BaseException:
            if isinstance(engine, SqliteFile) and not was_there:
                engine.path.unlink(missing_ok=True)
            raise
        finally:
            engine.close()
    return _restored(url, facts)


def _all() -> list[tuple[str, str]]:
    """Return every table with the query for its copy, owners before what belongs to them.

    The tables are listed from the schema itself, so a new one is copied too.
    """
    from sqlmodel import SQLModel

    import kling_ledger.ledger.tables  # noqa: F401 - they are known once they are imported

    return [
        (table.name, _query(table.name, table.columns.keys()))
        for table in SQLModel.metadata.sorted_tables
    ]


def _query(table: str, columns: Iterable[str]) -> str:
    gathered = GATHERED.get(table, {})
    picked = (f"{gathered.get(name, name)} AS {name}" for name in columns)
    condition = f" WHERE {_LEFT_OUT[table]}" if table in _LEFT_OUT else ""
    return f"SELECT {', '.join(picked)} FROM {table}{condition}"


def _copy(source: Whole, made: Path) -> None:
    if isinstance(source.connection, sqlite3.Connection):
        with closing(sqlite3.connect(made, isolation_level=None)) as target:
            # The connection's open transaction fixes the state that is copied.
            source.connection.backup(target)
            # A file on its own: nothing of it is in files beside it.
            target.execute("PRAGMA journal_mode=DELETE")
        return
    engine = SqliteFile(made)
    try:
        with engine.schema() as connection:
            _fill(connection, source)
    finally:
        engine.close()


def _fill(connection: Connection, source: Whole) -> None:
    """Create the tables, and fill them from a source."""
    from kling_ledger.ledger.engines.creation import create_schema

    create_schema(connection)
    # A new ledger's own first rows: the source has its own.
    for table in ("setting", "rules"):
        connection.exec_driver_sql(f"DELETE FROM {table}")
    for table, query in _all():
        if table in _FOLLOWS:
            continue
        columns = ", ".join(_columns(table))
        with closing(source.rows(query)) as rows:
            _insert(connection, table, columns, rows)


def _columns(table: str) -> list[str]:
    from sqlmodel import SQLModel

    return SQLModel.metadata.tables[table].columns.keys()


def _insert(connection: Connection, table: str, columns: str, rows: Rows) -> None:
    driver: Any = connection.connection.driver_connection
    if isinstance(driver, sqlite3.Connection):
        marks = ", ".join("?" * (columns.count(",") + 1))
        driver.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", rows)
        return
    with driver.cursor().copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def _check_empty(connection: Connection, name: str) -> None:
    from kling_ledger.ledger.engines.creation import schema_version

    hint = "name a new file or an empty database"
    try:
        version = schema_version(connection, name)
    except ForeignDatabaseError:
        raise NotEmptyError(name, hint=hint) from None
    if version is not None:
        raise NotEmptyError(name, hint=hint)


@contextmanager
def _opened(file: Path) -> Iterator[Whole]:
    """Open a copy made by this version, for reading only."""
    if not file.exists():
        raise NoLedgerError(file)
    with (
        translated(str(file)),
        closing(
            sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
        ) as connection,
    ):
        connection.execute("BEGIN")
        try:
            found = connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()
        except sqlite3.OperationalError as error:
            if "no such table" not in str(error):
                raise
            raise ForeignDatabaseError(str(file)) from None
        check_version(str(found[0]), str(file))
        yield Whole(connection)


def _checked(made: Path, expected: Facts, *, name: str) -> Copied:
    with _opened(made) as copy:
        connection = copy.connection
        if not isinstance(connection, sqlite3.Connection):
            raise TypeError("a copy is a file")
        found = verify(SqliteTransaction(connection), dialect="sqlite").findings
        facts = copy.facts()
    return Copied(facts, (*found, *_differences(expected, facts, name)))


def _restored(url: str, expected: Facts) -> Copied:
    with closing(Database(url, create=False)) as database:
        with database.read() as transaction:
            found = verify(transaction, dialect=database.engine.dialect).findings
        with translated(database.name), database.engine.whole() as connection:
            facts = Whole(connection).facts()
    return Copied(facts, (*found, *_differences(expected, facts, database.name)))


def _differences(expected: Facts, found: Facts, name: str) -> Iterator[Finding]:
    law = "a copy is what it was made from"
    for table, count in expected.rows.items():
        if found.rows[table] != count:
            yield Finding(law, name, f"{table} has {found.rows[table]} rows, expected {count}")
    for what in ("last_transfer", "digest"):
        if getattr(found, what) != getattr(expected, what):
            problem = f"{getattr(found, what)}, expected {getattr(expected, what)}"
            yield Finding(law, name, f"{what.replace('_', ' ')} is {problem}")


def _check_free(file: Path, *, replace: bool) -> None:
    if any(Path(f"{file}-{end}").exists() for end in ("wal", "shm")):
        raise NotEmptyError(file, hint="a program has it open as a ledger: name another file")
    if file.exists() and not replace:
        raise NotEmptyError(file, hint="name another file, or replace it with --force")


@contextmanager
def _file_beside(file: Path) -> Iterator[Path]:
    """Yield a new file in the same folder, which only its owner can read; then remove it."""
    with translated(str(file)):
        number, made = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.", suffix=".part")
    os.close(number)
    try:
        yield Path(made)
    finally:
        for end in ("", "-journal", "-wal", "-shm"):
            Path(f"{made}{end}").unlink(missing_ok=True)


def _put(made: Path, file: Path, *, replace: bool) -> None:
    """Give a complete file its name, and make sure that it is on the disk under that name."""
    with translated(str(file)):
        _sync(made)
        if replace:
            made.replace(file)
        else:
            try:
                # Unlike a rename, a link never replaces a file that appeared meanwhile.
                file.hardlink_to(made)
            except FileExistsError:
                raise NotEmptyError(file, hint="name another file") from None
            except OSError:
                made.replace(file)
        with suppress(OSError):
            _sync(file.parent)


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
