"""Serving: an application over HTTP on this machine, on its own thread, until it is closed."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Awaitable, Callable
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp

from kling_ledger.errors import (
    ConfigError,
    PortError,
)
from kling_pricing.errors import KlingError

_START_S: Final = 10.0
_ANY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, not bound


class ServingError(KlingError):
    """One of our servers stopped unexpectedly."""

    code = "serving"

    def __init__(self, name: str, url: str) -> None:
        super().__init__(f"the {name} at {url} stopped unexpectedly", hint="start it again")


def bind(host: str, port: int, *, problem: str) -> socket.socket:
    """Return a listening socket: bound here, so that a used port is our error and not a traceback.

    Port 0 is any free one. Raises ConfigError, whose message begins with `problem`.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sends without delay only where it sees that the protocol is TCP; left at 0, each
    # answer on a kept connection waits 40 ms for an acknowledgement.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            # On Windows the same option would let two servers share the port.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen()
    except (OSError, OverflowError, UnicodeError) as error:
        bound.close()
        reason = getattr(error, "strerror", None) or error
        raise PortError(problem, host=host, port=port, reason=reason) from error
    return bound


def address_of(bound: socket.socket) -> str:
    """Return the address of a socket from this machine, without a final slash."""
    host, port = bound.getsockname()[:2]
    reachable = _ANY_ADDRESS.get(host, host)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


class Served:
    """An application served on a bound socket, until `close`.

    `name` is for messages. `stopping` is awaited on the server's own thread before it closes its
    connections; `settings` are uvicorn's. Raises ConfigError if it does not start.
    """

    def __init__(
        self,
        app: ASGIApp,
        bound: socket.socket,
        *,
        name: str,
        stopping: Callable[[], Awaitable[None]],
        **settings: Any,
    ) -> None:
        self.url = address_of(bound)
        self._name = name
        self._server = _Server(app, bound, stopping, settings)
        self._thread = threading.Thread(
            target=self._server.run_bound, name=f"kling {name}", daemon=True
        )
        self._thread.start()
        if not self._server.listening.wait(_START_S):
            self._server.should_exit = True
            raise ConfigError(f"the {name} did not start within {_START_S:.0f} seconds")

    def wait(self) -> None:
        """Block until the server is closed. Raises ServingError if it fails by itself."""
        # Joined in short pieces: a long join would not let Ctrl-C through on Windows.
        while self._thread.is_alive():
            self._thread.join(0.5)
        # Nothing but `close` tells it to end: whatever else ended it left nobody listening.
        if not self._server.should_exit:
            raise ServingError(self._name, self.url) from self._server.broken_by

    def close(self, within_s: float) -> None:
        """Stop listening and wait for the server's thread, as long as that."""
        self._server.should_exit = True
        self._thread.join(within_s)


class _Server(uvicorn.Server):
    """uvicorn on a socket that is bound already; `listening` is set when it accepts."""

    def __init__(
        self,
        app: ASGIApp,
        bound: socket.socket,
        stopping: Callable[[], Awaitable[None]],
        settings: dict[str, Any],
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                lifespan="off",
                loop="asyncio",
                ws="none",
                **settings,
            )
        )
        self.listening = threading.Event()
        self.broken_by: Exception | None = None
        self._bound = bound
        self._stopping = stopping

    def run_bound(self) -> None:
        try:
            self.run(sockets=[self._bound])
        except Exception as error:  # noqa: BLE001 - it is raised again where somebody waits
            self.broken_by = error

    async def main_loop(self) -> None:
        # Not when it has started: who is told to stop before its loop begins lets go of nothing.
        self.listening.set()
        await super().main_loop()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await self._stopping()
        finally:
            await self._let_go(sockets)

    async def _let_go(self, sockets: list[socket.socket] | None) -> None:
        await super().shutdown(sockets=sockets)
        # Who was still being answered when the time was up would keep a socket open after us.
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)
