"""A proxy in front of a PostgreSQL server that loses what it is told to lose."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum, auto
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict


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
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def arm(self, cut: Cut) -> None:
        self._cut = cut

    def close(self) -> None:
        _hang_up(self._listener)
        self._listener.close()
        self.let_late_through.set()
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._path)
                self._start(self._pass_on, client, server)

    def _start(self, target: Callable[..., None], *sockets: socket.socket) -> threading.Thread:
        thread = threading.Thread(target=target, args=sockets, daemon=True)
        thread.start()
        self._threads.append(thread)
        return thread

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        with client, server:
            down = self._start(self._down, server, client)
            self._up(client, server)
            down.join()

    @staticmethod
    def _down(server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(1 << 16):
                client.sendall(data)
        _hang_up(client)

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        texts: dict[bytes, bytes] = {}
        with suppress(OSError):
            server.sendall(client.recv(1 << 16))  # the start-up message
            while data := client.recv(1 << 22):
                is_commit = _last_statement(data, texts) == b"COMMIT"
                cut = self._cut
                if cut is not None and is_commit:
                    self._cut, self.cuts = None, self.cuts + 1
                    self._lose(cut, data, client, server)
                    break
                server.sendall(data)
        _hang_up(server)

    def _lose(self, cut: Cut, data: bytes, client: socket.socket, server: socket.socket) -> None:
        if cut is Cut.HALF:
            server.sendall(data[: len(data) // 2])
        _hang_up(client)
        if cut is Cut.ANSWER:
            server.sendall(data)
        if cut is Cut.LATE:
            self.let_late_through.wait(20)
            with suppress(OSError):
                server.sendall(data)
            time.sleep(0.2)
            self.late_is_over.set()


def _hang_up(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)


def _last_statement(data: bytes, texts: dict[bytes, bytes]) -> bytes:
    """Read what a client sends: the text of the last statement that it has bound values to.

    `texts` holds what was prepared under which name so far.
    """
    last, at = b"", 0
    while at + 5 <= len(data):
        kind, length = data[at : at + 1], int.from_bytes(data[at + 1 : at + 5], "big")
        body = data[at + 5 : at + 1 + length]
        if kind == b"P":
            name, text = body.split(b"\0")[:2]
            texts[name] = text
        elif kind == b"B":
            last = texts.get(body.split(b"\0")[1], b"")
        at += 1 + length
    return last


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
