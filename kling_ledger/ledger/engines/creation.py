"""Creation: the tables of a new ledger, and the version of an existing one's tables.

Only this module needs SQLModel, and it is only loaded to create or upgrade a ledger.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Final

from sqlalchemy import Connection, create_mock_engine, inspect
from sqlalchemy.schema import DDLElement
from sqlmodel import SQLModel

from kling_ledger.errors import (
    ForeignDatabaseError,
    NewerSchemaError,
    NoLedgerError,
)
from kling_ledger.ledger.schema import FIRST_TABLE, FIRST_VERSION, SCHEMA_VERSION, VERSION_TABLE
from kling_ledger.ledger.tables import guards
from kling_ledger.ledger.views import views

_ADDRESSES: Final = {"sqlite": "sqlite://", "postgresql": "postgresql+psycopg://"}
_VERSION: Final = f"""
CREATE TABLE {VERSION_TABLE} (
    version_num VARCHAR(32) NOT NULL, CONSTRAINT {VERSION_TABLE}_pkc PRIMARY KEY (version_num)
)
"""
"""The table as Alembic would create it; Alembic continues from here."""


def schema_version(connection: Connection, name: str) -> str | None:
    """Return the migration that a database has reached, None if it is empty.

    Raises ForeignDatabaseError for a database of something else.
    """
    tables = set(inspect(connection).get_table_names())
    if VERSION_TABLE in tables:
        found = connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalar()
        return str(found)
    if FIRST_TABLE in tables:
        return FIRST_VERSION
    if tables:
        raise ForeignDatabaseError(name)
    return None


def create_schema(connection: Connection) -> str:
    """Create the tables in an empty database; return their version."""
    for statement in (
        *_tables(connection.dialect.name),
        *guards(connection.dialect.name),
        *views(connection.dialect.name),
        "INSERT INTO rules (id, version) VALUES (1, 1)",
        f"INSERT INTO setting (name, value) VALUES ('account_secret', '{os.urandom(32).hex()}')",
        _VERSION,
        f"INSERT INTO {VERSION_TABLE} (version_num) VALUES ('{SCHEMA_VERSION}')",
    ):
        connection.exec_driver_sql(statement)
    return SCHEMA_VERSION


@cache
def _tables(dialect: str) -> tuple[str, ...]:
    """Return what makes the tables: written once in a process, as that takes longer than making."""
    statements: list[str] = []

    def keep(statement: DDLElement, *_: object, **__: object) -> None:
        statements.append(str(statement.compile(dialect=written.dialect)))

    written = create_mock_engine(_ADDRESSES[dialect], keep)
    SQLModel.metadata.create_all(written, checkfirst=False)
    return tuple(statements)


def upgrade_schema(connection: Connection, name: str) -> str:
    """Upgrade the tables to this program's version; return the version that they had before."""
    from kling_ledger.ledger.engines.migrations import upgrade

    before = schema_version(connection, name)
    if before is None:
        raise NoLedgerError(name)
    if before > SCHEMA_VERSION:
        raise NewerSchemaError(name, version=before, needed=SCHEMA_VERSION)
    tells_version = VERSION_TABLE in inspect(connection).get_table_names()
    if before < SCHEMA_VERSION:
        upgrade(connection, to=SCHEMA_VERSION, reached=None if tells_version else before)
    return before
