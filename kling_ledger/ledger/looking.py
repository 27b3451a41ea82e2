"""Looking: what can be learned about a ledger without writing, whatever state it is in."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kling_ledger.errors import ForeignDatabaseError, NoLedgerError
from kling_ledger.ledger import approvals
from kling_ledger.ledger.clocks import check
from kling_ledger.ledger.engines.database import engine_of, translated
from kling_ledger.ledger.engines.read_only import can_be_written
from kling_ledger.ledger.engines.sqlite_transaction import SqliteTransaction
from kling_ledger.ledger.engines.transaction import Transaction
from kling_ledger.ledger.schema import FIRST_TABLE, FIRST_VERSION, SCHEMA_VERSION, VERSION_TABLE
from kling_ledger.ledger.states import OPEN_STATES, State
from kling_pricing.errors import KlingError

_SQLITE: Final = "sqlite:///"
_TABLES: Final = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table'",
    "postgresql": "SELECT tablename AS name FROM pg_tables WHERE schemaname = current_schema()",
}
_SERVER: Final = (
    "SELECT current_setting('server_version') AS version,"
    " current_setting('transaction_read_only') AS read_only_here,"
    " pg_is_in_recovery() AS is_replica,"
    " CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS bigint) AS now"
)
_TIMEOUT_S: Final = 5.0
_STILL_OPEN: Final = tuple(state for state in OPEN_STATES if state is not State.IN_DOUBT)


@dataclass(frozen=True, slots=True)
class Server:
    """A PostgreSQL server: its version, whether it is a standby, and whether there is a pooler."""

    version: str
    is_replica: bool
    is_pooled: bool


@dataclass(frozen=True, slots=True)
class Looked:
    """What a ledger looks like. Fields known only for this version are None or 0 for others.

    `beside` are the files that belong to an SQLite file, with their sizes in bytes. `clock` is what
    is wrong with this machine's clock, None if nothing is. `secret` keys fingerprints.
    """

    version: str
    needed: str
    can_be_written: bool
    beside: tuple[tuple[str, int], ...] = ()
    server: Server | None = None
    in_doubt: int = 0
    still_open: int = 0
    waiting: int = 0
    clock: KlingError | None = None
    secret: str = ""


def look(url: str, *, at_us: int) -> Looked:
    """Look at the ledger at an address as config.database_url returns it; writes nothing.

    Raises NoLedgerError, ForeignDatabaseError, and DatabaseError for what cannot be read.
    """
    if url.startswith(_SQLITE):
        return _look_at_file(Path(url.removeprefix(_SQLITE)), at_us)
    return _look_at_server(url, at_us)


def _look_at_file(path: Path, at_us: int) -> Looked:
    if not path.exists():
        raise NoLedgerError(path)
    beside = tuple(
        (one.name, one.stat().st_size)
        for one in sorted(path.parent.glob(f"{path.name}-*"))
        if one.is_file()
    )
    name = f"{_SQLITE}{path}"
    with translated(name), _unchanged(path) as transaction:
        return _looked(
            transaction, name, at_us, writable=can_be_written(path), beside=beside, server=None
        )


@contextmanager
def _unchanged(path: Path) -> Iterator[Transaction]:
    """Read a file without leaving another beside it: without a log, it is read as it is."""
    log = Path(f"{path}-wal")
    how = "mode=ro" if log.exists() and log.stat().st_size else "mode=ro&immutable=1"
    address = f"{path.absolute().as_uri()}?{how}"
    with closing(sqlite3.connect(address, uri=True, timeout=_TIMEOUT_S)) as connection:
        yield SqliteTransaction(connection)


def _look_at_server(url: str, at_us: int) -> Looked:
    from kling_ledger.ledger.engines.postgres import PostgresServer

    engine = engine_of(url)
    assert isinstance(engine, PostgresServer)  # noqa: S101 - an address is of a file or a server
    with translated(engine.name), closing(engine), engine.read() as transaction:
        row = transaction.row(_SERVER) or {}
        server = Server(str(row["version"]), bool(row["is_replica"]), engine.is_pooled)
        return _looked(
            transaction,
            engine.name,
            at_us,
            writable=not server.is_replica,
            server=server,
            server_us=int(row["now"]),
        )


def _looked(
    transaction: Transaction,
    name: str,
    at_us: int,
    *,
    writable: bool,
    beside: tuple[tuple[str, int], ...] = (),
    server: Server | None,
    server_us: int | None = None,
) -> Looked:
    dialect = "sqlite" if server is None else "postgresql"
    version = _version(transaction, dialect, name)
    bare = Looked(version, SCHEMA_VERSION, writable, beside, server)
    if version != SCHEMA_VERSION:
        return bare
    return Looked(
        *(version, SCHEMA_VERSION, writable, beside, server),
        in_doubt=_count(transaction, State.IN_DOUBT),
        still_open=_count(transaction, *_STILL_OPEN),
        waiting=len(approvals.every(transaction, undecided_at_us=at_us)),
        clock=_clock(transaction, at_us, server_us),
        secret=_secret(transaction),
    )


def _version(transaction: Transaction, dialect: str, name: str) -> str:
    tables = {row["name"] for row in transaction.rows(_TABLES[dialect])}
    if VERSION_TABLE in tables:
        row = transaction.row(f"SELECT version_num FROM {VERSION_TABLE}")
        if row is not None:
            return str(row["version_num"])
    if FIRST_TABLE in tables:
        return FIRST_VERSION
    raise ForeignDatabaseError(name) if tables else NoLedgerError(name)


def _count(transaction: Transaction, *states: State) -> int:
    among = ", ".join(f"'{state}'" for state in states)
    row = transaction.row(f"SELECT COUNT(*) AS many FROM reservation WHERE state IN ({among})")
    return int(row["many"]) if row else 0


def _clock(transaction: Transaction, at_us: int, server_us: int | None) -> KlingError | None:
    last = transaction.row("SELECT created_at FROM transfer ORDER BY id DESC LIMIT 1")
    try:
        check(at_us, last_us=int(last["created_at"]) if last else None, server_us=server_us)
    except KlingError as error:
        return error
    return None


def _secret(transaction: Transaction) -> str:
    from kling_ledger.ledger.accounts import secret

    return secret(transaction)
