"""What the sandbox answers with: JSON, and errors as `{"error": {"code", "message"}}`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final
from uuid import uuid4

from starlette.responses import Response

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

    Without a code of its own it has the usual one of its status.
    """

    def __init__(self, status: int, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code or _CODES.get(status) or ("server" if status >= 500 else "refused")

    def reply(self) -> Response:
        """Return the error as a response with an `X-Request-Id`, and with 429 when to retry."""
        headers = {"X-Request-Id": str(uuid4())}
        if self.status == 429:
            headers["Retry-After"] = "1"
        content = {"error": {"code": self.code, "message": str(self)}}
        return json_reply(content, status=self.status, headers=headers)


def json_reply(
    content: Any, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a JSON response in plain ASCII: a prompt's half emoji cannot break it."""
    return Response(json.dumps(content), status, headers=headers, media_type="application/json")
