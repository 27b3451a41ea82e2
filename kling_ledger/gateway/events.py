"""Events: the facts of each answered request; never a prompt or a key."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from kling_ledger.ledger.reservations import SettledBy
from kling_pricing.errors import KlingError
from kling_pricing.money import Money

log: Final = logging.getLogger("kling_ledger.gateway")


class Kind(StrEnum):
    """What a request was for."""

    SUBMIT = "submit"
    POLL = "poll"
    CALLBACK = "callback"
    OTHER = "other"
    """Free requests, and others that the gateway does not check: passed through."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer.

    `took_s` is the total time, `upstream_s` the provider's part of it. `caller` is the token's
    name, None without one. `refusal` is why the gateway itself refused. Amounts are None if
    unknown: `committed` is set once a poll has seen the end of a job, and `settled_by` is the basis
    of that amount.
    """

    at: datetime
    provider: str
    kind: Kind
    status: int
    took_s: float
    upstream_s: float = 0.0
    caller: str | None = None
    wallet: str | None = None
    project: str | None = None
    model: str | None = None
    action: str | None = None
    reservation_id: str | None = None
    quoted: Money | None = None
    held: Money | None = None
    committed: Money | None = None
    refusal: KlingError | None = None
    settled_by: SettledBy | None = None


Observer = Callable[[Exchange], None]
"""Called with each exchange, on the thread that made it."""


def tell(observers: Iterable[Observer], exchange: Exchange) -> None:
    """Notify all observers; an exception of one is logged and does not affect the others."""
    for observer in observers:
        try:
            observer(exchange)
        except Exception:
            log.warning("an observer raised", exc_info=True)
