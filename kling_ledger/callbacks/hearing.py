"""Hearing: a callback over HTTP, read within limits and processed in its own thread.

The answer discloses little: anyone may have sent it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from kling_ledger.callbacks.receiver import CallbackOutcome, Receipt, Receiver
from kling_ledger.providers.replies import LARGEST_CALLBACK

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
"""The HTTP status of each outcome: a retry only helps after 503."""

ANSWER_S: Final = 8.0
"""The longest time a sender waits; EvoLink documents ten seconds."""

RETRY_AFTER_S: Final = 1
"""The shortest delay before a retry."""

_BODY_S: Final = 5.0
_EARLY_S: Final = 2.0
_LOOK_EVERY_S: Final = 0.1
_THREADS: Final = 16


class UnreadError(Exception):
    """A callback that could not be read: `status` and `said` are the answer to its sender."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status = status
        self.said = said


def silent(_: Receipt) -> None:
    """Report nothing."""


class Hearing:
    """Passes callbacks to a receiver and reports them to `on_receipt`, on the same thread."""

    def __init__(self, receiver: Receiver, on_receipt: Callable[[Receipt], None] = silent) -> None:
        self._receiver = receiver
        self._on_receipt = on_receipt
        self._workers = ThreadPoolExecutor(_THREADS, thread_name_prefix="callback")
        self._closing = asyncio.Event()

    async def heard(self, provider: str, headers: Mapping[str, str], payload: bytes) -> Receipt:
        """Process a callback; one that comes too early waits a moment for its job."""
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + _EARLY_S
        while True:
            is_last = self._closing.is_set() or loop.time() >= give_up_at
            receipt = await loop.run_in_executor(
                self._workers, partial(self._work, provider, headers, payload, is_last=is_last)
            )
            if receipt.outcome is not CallbackOutcome.EARLY or is_last:
                return receipt
            await asyncio.sleep(_LOOK_EVERY_S)

    def stop(self) -> None:
        """Stop all waiting for jobs; call it on the server's own thread."""
        self._closing.set()

    def close(self) -> None:
        """Wait for polls and writes in progress."""
        self._workers.shutdown(wait=True, cancel_futures=True)

    def _work(
        self, provider: str, headers: Mapping[str, str], payload: bytes, *, is_last: bool
    ) -> Receipt:
        receipt = self._receiver.receive(provider, headers, payload)
        if receipt.outcome is not CallbackOutcome.EARLY or is_last:
            # A failing listener, such as a closed terminal, changes no result.
            try:
                self._on_receipt(receipt)
            except Exception:
                log.warning("a listener raised", exc_info=True)
        return receipt


async def read_payload(request: Request) -> bytes:
    """Return the body. Raises UnreadError for one that is too slow, cut short or too large."""
    try:
        async with asyncio.timeout(_BODY_S):
            payload = await _read(request)
    except TimeoutError:
        raise UnreadError(408, "too slow") from None
    except ClientDisconnect:
        raise UnreadError(400, "cut short") from None
    if payload is None:
        raise UnreadError(413, f"more than {LARGEST_CALLBACK} bytes")
    return payload


def answer(status: int, said: str, *, retry_after_s: float | None = None) -> Response:
    """Answer the sender; if a retry helps, say after how long."""
    headers: dict[str, Any] = {}
    if status == STATUSES[CallbackOutcome.UNANSWERED]:
        headers["Retry-After"] = str(max(RETRY_AFTER_S, round(retry_after_s or 0)))
    return JSONResponse({"outcome": said}, status, headers)


def answer_to(receipt: Receipt) -> Response:
    """Answer the sender according to the outcome."""
    status = STATUSES[receipt.outcome]
    return answer(status, receipt.outcome, retry_after_s=receipt.retry_after_s)


async def _read(request: Request) -> bytes | None:
    """Return the body, None if it is larger than any callback."""
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
