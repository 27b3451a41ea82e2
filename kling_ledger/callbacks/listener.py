"""Listener: the address that providers post their callbacks to, `/callbacks/{provider}`.

The status of the answer says whether a retry helps. Reading and processing are in
`callbacks.hearing`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Final, Self

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from kling_ledger.callbacks.hearing import (
    ANSWER_S,
    RETRY_AFTER_S,
    STATUSES,
    Hearing,
    UnreadError,
    answer,
    answer_to,
    read_payload,
    silent,
)
from kling_ledger.callbacks.receiver import Receipt, Receiver
from kling_ledger.callbacks.unfinished import HEAD_S, UnfinishedProtocol
from kling_ledger.serving import Served, bind

_MOST_CONNECTIONS: Final = 256
_STOP_S: Final = 60.0


class Listener:
    """Serves a receiver over HTTP on a thread, until it is closed. Port 0 is any free one.

        with Listener(receiver) as listener:
            body["callback_url"] = listener.address("runapi")

    A sender is answered after `answer_s` at the latest, even if a poll is still in progress.
    Connections without a complete request head within `head_s` are closed. `on_receipt` gets the
    receipt of every callback, on the thread that processed it.
    """

    def __init__(
        self,
        receiver: Receiver,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        answer_s: float = ANSWER_S,
        head_s: float = HEAD_S,
        on_receipt: Callable[[Receipt], None] = silent,
    ) -> None:
        self._head_s = head_s
        self._app = _App(receiver, answer_s, on_receipt)
        self._host = host
        self._port = port
        self._served: Served | None = None

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        if self._served is None:
            raise RuntimeError("the listener is not started")
        return self._served.url

    def address(self, provider: str) -> str:
        """Return the `callback_url` of a provider's jobs, as seen from this machine."""
        return f"{self.url}/callbacks/{provider}"

    def start(self) -> Self:
        """Bind the address, listen, and return; ConfigError if the address is not available."""
        if self._served is not None:
            raise RuntimeError("the listener is already started")
        self._served = Served(
            self._app.asgi,
            bind(self._host, self._port, problem="callbacks cannot be received"),
            name="listener",
            stopping=self._app.stop,
            http=partial(UnfinishedProtocol, head_s=self._head_s),
            log_level="error",
            server_header=False,
            proxy_headers=False,
            limit_concurrency=_MOST_CONNECTIONS,
        )
        return self

    def wait(self) -> None:
        """Block until the listener is closed. Raises ServingError if its server fails."""
        if self._served is not None:
            self._served.wait()

    def close(self) -> None:
        """Stop listening, and wait for polls and writes in progress."""
        if self._served is not None:
            self._served.close(_STOP_S)
            self._app.hearing.close()
            self._served = None

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
    """The one address as an application."""

    def __init__(
        self, receiver: Receiver, answer_s: float, on_receipt: Callable[[Receipt], None]
    ) -> None:
        self._answer_s = answer_s
        self.hearing = Hearing(receiver, on_receipt)
        self.asgi = Starlette(
            routes=[Route("/callbacks/{provider}", self._callback, methods=["POST"])]
        )

    async def stop(self) -> None:
        """Stop all waiting for jobs."""
        self.hearing.stop()

    async def _callback(self, request: Request) -> Response:
        try:
            payload = await read_payload(request)
        except UnreadError as error:
            return answer(error.status, error.said)
        provider = request.path_params["provider"]
        try:
            async with asyncio.timeout(self._answer_s):
                return answer_to(await self.hearing.heard(provider, request.headers, payload))
        except TimeoutError:
            # The work continues; a retry finds it done.
            return answer(503, "still being asked", retry_after_s=RETRY_AFTER_S)


__all__ = ["ANSWER_S", "STATUSES", "Listener"]
