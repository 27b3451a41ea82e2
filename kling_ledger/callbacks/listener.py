"""Listener: the address that providers post their callbacks to, `/callbacks/{provider}`.

It reads what is posted, within bounds, has the receiver act on it in a thread of its own, and
answers with a status that says whether to send it again. What the answer tells is little: anybody
may have asked.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from kling_ledger.callbacks.receiver import CallbackOutcome, Receipt, Receiver
from kling_ledger.callbacks.unfinished import HEAD_S, UnfinishedProtocol
from kling_ledger.providers.replies import LARGEST_CALLBACK
from kling_ledger.serving import Served, bind

log: Final = logging.getLogger("kling_ledger.callbacks")

STATUSES: Final[Mapping[CallbackOutcome, int]] = {
    CallbackOutcome.DONE: 200,
    CallbackOutcome.NOTED: 202,
    CallbackOutcome.UNREADABLE: 400,
    CallbackOutcome.UNSIGNED: 401,
    CallbackOutcome.UNKNOWN: 404,
    CallbackOutcome.ELSEWHERE: 409,
    CallbackOutcome.EARLY: 503,
    CallbackOutcome.UNANSWERED: 503,
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
_STOP_S: Final = 60.0


def _silent(_: Receipt) -> None:
    """Tell nobody."""


class Listener:
    """Serves a receiver over HTTP on a thread, until it is closed. Port 0 is any free one.

        with Listener(receiver) as listener:
            body["callback_url"] = listener.address("runapi")

    A sender is answered after `answer_s` at the latest, whatever is still being asked by then. Who
    has not sent the head of a request within `head_s` is cut off.
    `on_receipt` is told what became of everything that was posted, on the thread that did it.
    """

    def __init__(
        self,
        receiver: Receiver,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        answer_s: float = ANSWER_S,
        head_s: float = HEAD_S,
        on_receipt: Callable[[Receipt], None] = _silent,
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
        """Return the `callback_url` of a provider's jobs, as it is seen from this machine."""
        return f"{self.url}/callbacks/{provider}"

    def start(self) -> Self:
        """Bind the address, listen, and return; ConfigError where the address cannot be had."""
        if self._served is not None:
            raise RuntimeError("the listener is started already")
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
        """Block until the listener is closed. Raises ServingError where its server breaks."""
        if self._served is not None:
            self._served.wait()

    def close(self) -> None:
        """Stop listening, and wait for what is being asked or written right now."""
        if self._served is not None:
            self._served.close(_STOP_S)
            self._app.workers.shutdown(wait=True, cancel_futures=True)
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

    async def stop(self) -> None:
        """Let nothing wait any longer for its job."""
        self.closing.set()

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
            if receipt.outcome is not CallbackOutcome.EARLY or is_last:
                return receipt
            await asyncio.sleep(_LOOK_EVERY_S)

    def _work(
        self, provider: str, headers: Mapping[str, str], payload: bytes, *, is_last: bool
    ) -> Receipt:
        receipt = self._receiver.receive(provider, headers, payload)
        if receipt.outcome is not CallbackOutcome.EARLY or is_last:
            # A listener that fails, such as a closed terminal, changes nothing of what was done.
            try:
                self._on_receipt(receipt)
            except Exception:
                log.warning("a listener raised", exc_info=True)
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
    if status == STATUSES[CallbackOutcome.UNANSWERED]:
        headers["Retry-After"] = str(max(_RETRY_AFTER_S, round(retry_after_s or 0)))
    return JSONResponse({"outcome": said}, status, headers)


__all__ = ["ANSWER_S", "STATUSES", "Listener"]
