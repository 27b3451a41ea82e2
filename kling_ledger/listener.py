"""Listener: the address that providers post their callbacks to, `/callbacks/{provider}`.

It reads what is posted, within bounds, has the receiver act on it in a thread of its own, and
answers with a status that says whether to send it again. What the answer tells is little: anybody
may have asked.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from kling_ledger.errors import ConfigError
from kling_ledger.providers.replies import LARGEST_CALLBACK
from kling_ledger.receiver import Outcome, Receipt, Receiver

STATUSES: Final[Mapping[Outcome, int]] = {
    Outcome.DONE: 200,
    Outcome.NOTED: 202,
    Outcome.UNREADABLE: 400,
    Outcome.UNSIGNED: 401,
    Outcome.UNKNOWN: 404,
    Outcome.ELSEWHERE: 409,
    Outcome.EARLY: 503,
    Outcome.UNANSWERED: 503,
}
"""The HTTP status of each outcome: only after 503 does it help to send the same again."""

ANSWER_S: Final = 8.0
"""How long a sender waits at most; EvoLink documents ten seconds for itself."""

_BODY_S: Final = 5.0
_EARLY_S: Final = 2.0
_LOOK_EVERY_S: Final = 0.1
_RETRY_AFTER_S: Final = 1
_THREADS: Final = 16
_MOST_CONNECTIONS: Final = 256
_START_S: Final = 10.0
_STOP_S: Final = 60.0
_ANY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, not bound


def _silent(_: Receipt) -> None:
    """Tell nobody."""


class Listener:
    """Serves a receiver over HTTP on a thread, until it is closed. Port 0 is any free one.

        with Listener(receiver) as listener:
            body["callback_url"] = listener.address("runapi")

    A sender is answered after `answer_s` at the latest, whatever is still being asked by then.
    `on_receipt` is told what became of everything that was posted, on the thread that did it.
    """

    def __init__(
        self,
        receiver: Receiver,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        answer_s: float = ANSWER_S,
        on_receipt: Callable[[Receipt], None] = _silent,
    ) -> None:
        self._app = _App(receiver, answer_s, on_receipt)
        self._host = host
        self._port = port
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        if self._server is None:
            raise RuntimeError("the listener is not started")
        return self._server.url

    def address(self, provider: str) -> str:
        """Return the `callback_url` of a provider's jobs, as it is seen from this machine."""
        return f"{self.url}/callbacks/{provider}"

    def start(self) -> Self:
        """Bind the address, listen, and return; ConfigError where the address cannot be had."""
        if self._server is not None:
            raise RuntimeError("the listener is started already")
        server = _Server(self._app, _bind(self._host, self._port))
        thread = threading.Thread(target=server.run_bound, name="kling-callbacks", daemon=True)
        thread.start()
        if not server.listening.wait(_START_S):
            server.should_exit = True
            raise ConfigError(f"the listener did not start within {_START_S:.0f} seconds")
        self._server, self._thread = server, thread
        return self

    def wait(self) -> None:
        """Block until the server ends by itself, which it does only when it breaks."""
        # Joined in short pieces: a long join would not let Ctrl-C through on Windows.
        while self._thread is not None and self._thread.is_alive():
            self._thread.join(0.5)

    def close(self) -> None:
        """Stop listening, and wait for what is being asked or written right now."""
        server, thread = self._server, self._thread
        if server is None or thread is None:
            return
        server.should_exit = True
        thread.join(_STOP_S)
        self._app.workers.shutdown(wait=True, cancel_futures=True)
        self._server = self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _App:
    """The one address as an application, and the threads that work for it."""

    def __init__(
        self, receiver: Receiver, answer_s: float, on_receipt: Callable[[Receipt], None]
    ) -> None:
        self._receiver = receiver
        self._answer_s = answer_s
        self._on_receipt = on_receipt
        self.workers = ThreadPoolExecutor(_THREADS, thread_name_prefix="callback")
        self.closing = asyncio.Event()
        self.asgi = Starlette(
            routes=[Route("/callbacks/{provider}", self._callback, methods=["POST"])]
        )

    async def _callback(self, request: Request) -> Response:
        try:
            async with asyncio.timeout(_BODY_S):
                payload = await _read(request)
        except TimeoutError:
            return _answer(408, "too slow")
        except ClientDisconnect:
            return _answer(400, "cut short")
        if payload is None:
            return _answer(413, f"more than {LARGEST_CALLBACK} bytes")
        provider = request.path_params["provider"]
        try:
            async with asyncio.timeout(self._answer_s):
                receipt = await self._received(provider, request.headers, payload)
        except TimeoutError:
            # The work goes on; whoever sends the same again finds it done.
            return _answer(503, "still being asked", retry_after_s=_RETRY_AFTER_S)
        return _answer(
            STATUSES[receipt.outcome], receipt.outcome, retry_after_s=receipt.retry_after_s
        )

    async def _received(self, provider: str, headers: Mapping[str, str], payload: bytes) -> Receipt:
        """Have a callback acted upon; one that came too early waits a moment for its job."""
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + _EARLY_S
        while True:
            is_last = self.closing.is_set() or loop.time() >= give_up_at
            receipt = await loop.run_in_executor(
                self.workers, partial(self._work, provider, headers, payload, is_last=is_last)
            )
            if receipt.outcome is not Outcome.EARLY or is_last:
                return receipt
            await asyncio.sleep(_LOOK_EVERY_S)

    def _work(
        self, provider: str, headers: Mapping[str, str], payload: bytes, *, is_last: bool
    ) -> Receipt:
        receipt = self._receiver.receive(provider, headers, payload)
        if receipt.outcome is not Outcome.EARLY or is_last:
            # A listener that fails, such as a closed terminal, changes nothing of what was done.
            with suppress(Exception):
                self._on_receipt(receipt)
        return receipt


async def _read(request: Request) -> bytes | None:
    """Return what was posted, None where it is more than any callback."""
    declared = request.headers.get("Content-Length", "0")
    if not declared.isdecimal() or int(declared) > LARGEST_CALLBACK:
        return None
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > LARGEST_CALLBACK:
            return None
        parts.append(part)
    return b"".join(parts)


def _answer(status: int, said: str, *, retry_after_s: float | None = None) -> Response:
    headers: dict[str, Any] = {}
    if status == STATUSES[Outcome.UNANSWERED]:
        headers["Retry-After"] = str(max(_RETRY_AFTER_S, round(retry_after_s or 0)))
    return JSONResponse({"outcome": said}, status, headers)


class _Server(uvicorn.Server):
    """uvicorn on a socket that is bound already; `listening` is set when it accepts."""

    def __init__(self, app: _App, bound: socket.socket) -> None:
        super().__init__(
            uvicorn.Config(
                app.asgi,
                http="h11",
                log_config=None,
                log_level="error",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                lifespan="off",
                loop="asyncio",
                ws="none",
                limit_concurrency=_MOST_CONNECTIONS,
            )
        )
        self.listening = threading.Event()
        self.url = _url(bound)
        self._app = app
        self._bound = bound

    def run_bound(self) -> None:
        self.run(sockets=[self._bound])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.listening.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.closing.set()
        await super().shutdown(sockets=sockets)


def _bind(host: str, port: int) -> socket.socket:
    """Return a listening socket: bound here, so that a taken port is our error and not a trace."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
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
            f"callbacks cannot be received on {host} port {port}: {reason}",
            hint="choose another --port, or --port 0 for any that is free",
        ) from error
    return bound


def _url(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    reachable = _ANY_ADDRESS.get(host, host)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


__all__ = ["ANSWER_S", "STATUSES", "Listener"]
