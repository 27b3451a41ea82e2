"""A proxy in front of a PostgreSQL server that loses what it is told to lose."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum, auto
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

COMMITS = b"COMMIT"


class Cut(Enum):
    """What becomes of the next message that ends a transaction."""

    BEFORE = auto()
    """The server never sees it."""
    HALF = auto()
    """The server sees a part of it."""
    ANSWER = auto()
    """The server does it, and its answer is lost."""
    LATE = auto()
    """The server sees it long after the client was cut off."""


class Proxy:
    """Passes everything on, and loses one message where it was armed."""

    def __init__(self, socket_path: str) -> None:
        self._path = socket_path
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._cut: Cut | None = None
        self.cuts = 0
        self.let_late_through = threading.Event()
        self.late_is_over = threading.Event()
        self._prepared: set[bytes] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def arm(self, cut: Cut) -> None:
        self._cut = cut

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._path)
                threading.Thread(target=self._down, args=(server, client), daemon=True).start()
                threading.Thread(target=self._up, args=(client, server), daemon=True).start()

    @staticmethod
    def _down(server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(1 << 16):
                client.sendall(data)
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(1 << 20):
                cut = self._cut
                if cut is not None and self._ends_a_transaction(data):
                    self._cut, self.cuts = None, self.cuts + 1
                    self._lose(cut, data, client, server)
                    return
                server.sendall(data)
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)

    def _ends_a_transaction(self, data: bytes) -> bool:
        """COMMIT is the last statement of a message: its name, where it was prepared before."""
        from kling_ledger.ledger.engines import pipeline

        return COMMITS in data or pipeline._name("COMMIT") in data

    def _lose(
        self, cut: Cut, data: bytes, client: socket.socket, server: socket.socket
    ) -> None:
        if cut is Cut.HALF:
            server.sendall(data[: len(data) // 2])
        if cut is Cut.ANSWER:
            client.shutdown(socket.SHUT_RDWR)
            server.sendall(data)
            return
        client.shutdown(socket.SHUT_RDWR)
        if cut is Cut.LATE:
            self.let_late_through.wait(30)
            with suppress(OSError):
                server.sendall(data)
            self.late_is_over.set()
            return
        server.close()


@contextmanager
def cutting_proxy(address: str) -> Iterator[tuple[Proxy, str]]:
    """Put a proxy in front of a server on a socket; give it and the address of a database there."""
    given = conninfo_to_dict(address.replace("postgresql+psycopg://", "postgresql://"))
    proxy = Proxy(str(Path(str(given["host"])) / ".s.PGSQL.5432"))
    try:
        yield (
            proxy,
            f"postgresql://{given['user']}:@127.0.0.1:{proxy.port}/{given['dbname']}?sslmode=disable",
        )
    finally:
        proxy.close()
