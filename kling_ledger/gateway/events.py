"""Events: what the gateway tells of each request that it has answered; never a prompt or a key."""

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
    """Whatever costs nothing, or is not the gateway's to judge: passed through."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and how it was answered.

    `took_s` is the whole of it, `upstream_s` what the provider took of that. `caller` is the name
    of the token, None without one. `refusal` is why the gateway itself said no. Amounts are None
    where there are none: `committed` is there once a poll has seen the end of a job, and
    `settled_by` says whose word it is.
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
"""Is told of each exchange, on the thread that made it."""


def tell(observers: Iterable[Observer], exchange: Exchange) -> None:
    """Tell everybody who listens; what one raises is logged, and keeps no other from hearing."""
    for observer in observers:
        try:
            observer(exchange)
        except Exception:
            log.warning("an observer raised", exc_info=True)
