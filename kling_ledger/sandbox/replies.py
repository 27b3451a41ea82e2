"""What the sandbox answers with: JSON, refusals, and answers that go wrong in transit."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from kling_ledger.sandbox.markers import CUT, HALF, HANG, MALFORMED, MODERATION, Fault

CUT_SCOPE: Final = "kling.cut"
"""The key in a request's scope under which the server leaves a way to close the connection."""

_CODES: Final[Mapping[int, str]] = {
    400: "validation",
    401: "authentication",
    402: "insufficient_credits",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    422: "validation",
    429: "rate_limit",
    503: "service_unavailable",
}


class ApiError(Exception):
    """An answer that is an error: its HTTP status, its code and its message.

    Without a code of its own, it has the usual one of its status. Each dialect writes it in its own
    form.
    """

    def __init__(self, status: int, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code or _CODES.get(status) or ("server" if status >= 500 else "refused")

    def headers(self, retry_after_s: int) -> dict[str, str]:
        """Return the headers of every dialect's errors: an `X-Request-Id`, and when to retry."""
        headers = {"X-Request-Id": str(uuid4())}
        if self.status == 429:
            headers["Retry-After"] = str(retry_after_s)
        return headers

    def reply(self, retry_after_s: int = 1) -> Response:
        """Return the error in RunAPI's form: `{"error": {"code", "message"}}`."""
        content = {"error": {"code": self.code, "message": str(self)}}
        return json_reply(content, status=self.status, headers=self.headers(retry_after_s))


def json_reply(
    content: Any, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a JSON response in plain ASCII: half a surrogate pair in a prompt cannot break it."""
    return Response(json.dumps(content), status, headers=headers, media_type="application/json")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an answer that never comes is held open; `closing` is set when the server ends."""

    hang_s: float
    closing: asyncio.Event


def spoiled(fault: Fault, reply: Response | None, patience: Patience) -> Response:
    """Return a reply with a fault applied; without a reply, a placeholder.

    Raises ApiError if the fault is an HTTP status or a refusal of the content.
    """
    if fault.status is not None:
        raise ApiError(fault.status, f"HTTP {fault.status}, as a marker asks")
    if fault.word == MODERATION:
        message = "the content was refused by moderation, as a marker asks"
        raise ApiError(400, message, code="content_policy_violation")
    return _SPOILERS[fault.word](reply or json_reply({"status": "unknown"}), patience)


class _Cut(Response):
    """No answer: the connection is closed."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        await _cut(scope)


class _Hang(Response):
    """No answer: the connection stays open until the caller, or the sandbox, gives up."""

    def __init__(self, patience: Patience) -> None:
        super().__init__()
        self._patience = patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        gone = asyncio.ensure_future(_disconnected(receive))
        closing = asyncio.ensure_future(self._patience.closing.wait())
        await asyncio.wait(
            {gone, closing},
            timeout=self._patience.hang_s,
            return_when=asyncio.FIRST_COMPLETED,
        )
        for waiting in (gone, closing):
            waiting.cancel()
            with suppress(asyncio.CancelledError):
                await waiting
        await _cut(scope)


class _Half(Response):
    """An answer whose second half never comes, although its full length was announced."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        first = bytes(self.body)[: len(self.body) // 2]
        await send({"type": "http.response.body", "body": first, "more_body": True})
        await _cut(scope)


def _half(reply: Response) -> Response:
    return _Half(reply.body, reply.status_code, headers=_plain_headers(reply))


def _malformed(reply: Response) -> Response:
    broken = bytes(reply.body)[: max(1, len(reply.body) * 2 // 3)]
    return Response(broken, reply.status_code, media_type="application/json")


def _plain_headers(reply: Response) -> dict[str, str]:
    return {name: value for name, value in reply.headers.items() if name != "content-length"}


_SPOILERS: Final[Mapping[str, Callable[[Response, Patience], Response]]] = {
    CUT: lambda _, __: _Cut(),
    HANG: lambda _, patience: _Hang(patience),
    HALF: lambda reply, _: _half(reply),
    MALFORMED: lambda reply, _: _malformed(reply),
}


async def _cut(scope: Scope) -> None:
    scope[CUT_SCOPE]()
    # The server notices the closed connection in its next loop; until then it would complain about
    # the missing answer.
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
