"""Sandbox: the server itself, on a thread for a script, in the foreground for the command."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, Self

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from kling_ledger.errors import ConfigError
from kling_ledger.sandbox.jobs import JobStore
from kling_ledger.sandbox.replies import ApiError
from kling_ledger.sandbox.runapi import new_task_id, runapi_routes
from kling_ledger.sandbox.settings import SandboxSettings

_START_S: Final = 10.0
_STOP_S: Final = 5
_ANY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, not bound


def utc_now() -> datetime:
    """Return the time of day, aware and in UTC."""
    return datetime.now(UTC)


class Sandbox:
    """The providers over real HTTP on one machine; nothing that it is sent costs money.

        with Sandbox() as sandbox:
            KlingClient(api_key=sandbox.settings.api_key, base_url=sandbox.url)

    Port 0 is any free one. `clock` counts the seconds that jobs take and `now` tells the instant
    that prices are read at, so that a test can decide both. `runapi` is the account and its jobs.
    """

    def __init__(
        self,
        settings: SandboxSettings | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.settings = chosen = settings or SandboxSettings()
        self.runapi = JobStore(
            chosen.balance, clock=clock, now=now, new_id=lambda: new_task_id(chosen)
        )
        self._host = host
        self._port = port
        self._now = now
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where the sandbox listens, without a slash at the end; for `--base-url`."""
        if self._server is None:
            raise RuntimeError("the sandbox is not started")
        return self._server.url

    def start(self) -> Self:
        """Bind the address, listen, and return; ConfigError where the address cannot be had."""
        if self._server is not None:
            raise RuntimeError("the sandbox is started already")
        server = _Server(self._app(), _bind(self._host, self._port))
        thread = threading.Thread(target=server.run_bound, name="kling-sandbox", daemon=True)
        thread.start()
        if not server.listening.wait(_START_S):
            server.should_exit = True
            raise ConfigError(f"the sandbox did not start within {_START_S:.0f} seconds")
        self._server, self._thread = server, thread
        return self

    def close(self) -> None:
        """Stop listening and wait for the server's thread; nothing if it is not started."""
        server, thread = self._server, self._thread
        if server is None or thread is None:
            return
        server.should_exit = True
        thread.join(_STOP_S)
        self._server = self._thread = None

    def wait(self) -> None:
        """Block until the server ends by itself, which it does only when it breaks."""
        # Joined in short pieces: a long join would not let Ctrl-C through on Windows.
        while self._thread is not None and self._thread.is_alive():
            self._thread.join(0.5)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _app(self) -> Starlette:
        return Starlette(
            routes=runapi_routes(self.settings, self.runapi, now=self._now),
            exception_handlers={HTTPException: _no_route},
        )


def serve(
    settings: SandboxSettings, *, host: str, port: int, announce: Callable[[str], None]
) -> None:
    """Run a sandbox until Ctrl-C; `announce` is given its address once it listens."""
    try:
        with Sandbox(settings, host=host, port=port) as sandbox:
            announce(sandbox.url)
            sandbox.wait()
    except KeyboardInterrupt:
        return


class _Server(uvicorn.Server):
    """uvicorn on a socket that is bound already; `listening` is set when it accepts."""

    def __init__(self, app: Starlette, bound: socket.socket) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                log_level="warning",
                access_log=False,
                lifespan="off",
                loop="asyncio",
                ws="none",
                timeout_graceful_shutdown=1,
            )
        )
        self.listening = threading.Event()
        self.url = _url(bound)
        self._bound = bound

    def run_bound(self) -> None:
        self.run(sockets=[self._bound])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.listening.set()


def _bind(host: str, port: int) -> socket.socket:
    """Return a listening socket: bound here, so that a taken port is our error and not a trace."""
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
        raise ConfigError(
            f"the sandbox cannot listen on {host} port {port}: {reason}",
            hint="choose another --port, or --port 0 for any that is free",
        ) from error
    return bound


def _url(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    reachable = _ANY_ADDRESS.get(host, host)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


async def _no_route(request: Request, error: Exception) -> Response:  # noqa: ARG001 - as called
    status = error.status_code if isinstance(error, HTTPException) else 500
    return ApiError(status, "the sandbox has no such address or method").reply()
