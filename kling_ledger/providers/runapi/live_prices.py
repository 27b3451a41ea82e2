"""RunAPI's public price schedule, which is free to read.

Source: https://github.com/runapi-ai/core-sdk go/pricing/client_test.go, checked 2026-11-20.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import httpx

from kling_ledger.errors import LivePricesError
from kling_ledger.providers.http import checked_address
from kling_ledger.providers.live_prices import TIMEOUT, json_of, sent
from kling_ledger.providers.runapi.facts import FACTS
from kling_ledger.providers.surroundings import naming_the_variable

_SCHEDULES: Final = "/api/v1/price_schedules"


@dataclass(frozen=True, slots=True)
class LiveSchedule:
    """RunAPI's schedule as it was sent: its rows, when and where it was read, and its ETag."""

    rows: tuple[object, ...]
    as_of: datetime
    etag: str | None
    url: str


def fetch_schedule(
    base_url: str = FACTS.base_url, *, etag: str | None = None
) -> LiveSchedule | None:
    """Read RunAPI's public schedule of Kling's prices; None if the ETag still matches.

    Raises LivePricesError if it is unavailable or not a schedule, ConfigError for an invalid
    address.
    """
    url = f"{checked_address(base_url)}{_SCHEDULES}?service=kling"
    headers = {"If-None-Match": etag} if etag else {}
    with naming_the_variable():
        client = httpx.Client(timeout=TIMEOUT)
    with client as http:
        reply = sent(http, "runapi", httpx.Request("GET", url, headers=headers))
    if reply.status_code == httpx.codes.NOT_MODIFIED and etag:
        return None
    if reply.status_code != httpx.codes.OK:
        raise LivePricesError("runapi", f"answered {reply.status_code} to {_SCHEDULES}")
    body = json_of(reply, "runapi")
    rows = body.get("price_schedules")
    if not isinstance(rows, list):
        raise LivePricesError("runapi", "the reply has no list price_schedules")
    return LiveSchedule(tuple(rows), _as_of(body), reply.headers.get("ETag"), url)


def _as_of(body: Mapping[str, Any]) -> datetime:
    try:
        said = datetime.fromisoformat(str(body.get("as_of")))
        return said.replace(tzinfo=UTC) if said.tzinfo is None else said.astimezone(UTC)
    except (ValueError, OverflowError):
        raise LivePricesError("runapi", "the schedule does not say its date, as_of") from None
