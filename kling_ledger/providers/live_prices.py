"""What requests for live prices share: one request, and JSON whose numbers stay exact."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, Final

import httpx

from kling_ledger.errors import LivePricesError

TIMEOUT: Final = httpx.Timeout(30, connect=10)


def sent(http: httpx.Client, provider: str, request: httpx.Request) -> httpx.Response:
    """Send a request once. Raises LivePricesError if there is no answer."""
    try:
        return http.send(request)
    except httpx.TimeoutException:
        raise LivePricesError(provider, f"{request.url.host} did not answer in time") from None
    except httpx.HTTPError as error:
        problem = f"{request.url.host} could not be reached: {type(error).__name__}"
        raise LivePricesError(provider, problem) from None


def json_of(reply: httpx.Response, provider: str) -> dict[str, Any]:
    """Return a JSON object whose numbers are read as they were written, never as floats."""
    try:
        body = json.loads(reply.content, parse_float=Decimal)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        problem = f"answered {reply.status_code} without a JSON object"
        raise LivePricesError(provider, problem)
    return body
