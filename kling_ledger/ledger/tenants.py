"""Tenants: the ledgers of one PostgreSQL database, each in a schema of its own."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode

from kling_ledger.errors import ConfigError, NotFoundError
from kling_ledger.ledger.engines.database import Database, engine_of, translated
from kling_ledger.ledger.engines.sqlite import SqliteFile
from kling_ledger.ledger.ids import from_us
from kling_ledger.ledger.schema import FIRST_TABLE, SCHEMA_VERSION, VERSION_TABLE
from kling_ledger.ledger.states import OPEN_STATES

_SCHEMAS: Final = f"""
SELECT DISTINCT nspname AS name FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relname IN ('{VERSION_TABLE}', '{FIRST_TABLE}') AND relkind IN ('r', 'p')
  AND has_schema_privilege(pg_namespace.oid, 'USAGE')
  AND has_table_privilege(pg_class.oid, 'SELECT')
ORDER BY nspname
"""
_STANDING: Final = f"""
SELECT (SELECT COUNT(*) FROM wallet) AS wallets,
       (SELECT COUNT(*) FROM reservation
        WHERE state IN ({", ".join(f"'{state}'" for state in OPEN_STATES)})) AS open,
       (SELECT created_at FROM transfer ORDER BY id DESC LIMIT 1) AS moved_at
"""


@dataclass(frozen=True, slots=True)
class Tenant:
    """One ledger of a database. Figures are None if its tables have another version.

    `last_activity_at` is when credits last moved.
    """

    name: str
    version: str
    wallets: int | None = None
    open_reservations: int | None = None
    last_activity_at: datetime | None = None


def tenants(url: str) -> list[Tenant]:
    """Return every ledger of a database that this role may read, by the name of its schema."""
    return [_standing(name, address) for name, address in addresses(url).items()]


def addresses(url: str, names: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the address of each ledger by its schema: of all, or of those named, in that order.

    Raises NotFoundError for an unknown name, ConfigError for an engine without schemas.
    """
    engine = engine_of(url)
    with closing(engine):
        if isinstance(engine, SqliteFile):
            raise ConfigError(
                f"{engine.name} is a file, which holds one ledger",
                hint="tenants are the schemas of a PostgreSQL database",
            )
        with translated(engine.name), engine.read() as transaction:
            known = [row["name"] for row in transaction.rows(_SCHEMAS)]
    for name in names:
        if name not in known:
            raise NotFoundError("tenant", name, hint=f"there are {', '.join(known) or 'none'}")
    return {name: address_of(url, name) for name in dict.fromkeys(names or known)}


def address_of(url: str, schema: str) -> str:
    """Return the address of the ledger in a schema: the same address with that search_path."""
    base, _, query = url.partition("?")
    given = parse_qsl(query, keep_blank_values=True)
    # What is between the quotes may be anything; the server splits options at spaces.
    quoted = '"' + schema.replace('"', '""') + '"'
    escaped = quoted.replace("\\", "\\\\").replace(" ", "\\ ")
    options = [value for name, value in given if name == "options"]
    # If there are several, the last one counts.
    options.append(f"-csearch_path={escaped}")
    rest = [(name, value) for name, value in given if name != "options"]
    return f"{base}?{urlencode([*rest, ('options', ' '.join(options))], quote_via=quote)}"


def _standing(name: str, address: str) -> Tenant:
    with closing(Database(address, create=False, any_version=True)) as database:
        version = database.version() or ""
        if version != SCHEMA_VERSION:
            return Tenant(name, version)
        with database.read() as transaction:
            row = transaction.row(_STANDING) or {}
    moved = row["moved_at"]
    return Tenant(
        name, version, row["wallets"], row["open"], None if moved is None else from_us(moved)
    )
