"""Recent: the last refusals and the number of requests since the gateway started, in memory."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from kling_ledger.gateway import said
from kling_ledger.gateway.events import Exchange, Kind
from kling_pricing.money import Money

KEPT: Final = 50
"""How many refusals are kept, unless another number is given."""


@dataclass(frozen=True, slots=True)
class Refused:
    """One request that the gateway refused: when, who asked for what, and why not.

    `number` counts all refusals from 1. `asked` is what the job would have held, None if unknown.
    `reason` and `hint` quote nothing of what was sent.
    """

    number: int
    at: datetime
    provider: str
    caller: str | None
    wallet: str | None
    project: str | None
    model: str | None
    action: str | None
    asked: Money | None
    code: str
    reason: str
    hint: str | None


@dataclass(frozen=True, slots=True)
class Counts:
    """How many requests were answered, by purpose, and how many were refused, by code."""

    requests: Mapping[Kind, int]
    refusals: Mapping[str, int]


class Recent:
    """An observer that keeps the last refusals. Safe to share between threads."""

    def __init__(self, keep: int = KEPT) -> None:
        self._lock = threading.Lock()
        self._refused: deque[Refused] = deque(maxlen=keep)
        self._requests: Counter[Kind] = Counter()
        self._codes: Counter[str] = Counter()

    def __call__(self, exchange: Exchange) -> None:
        """Count a request, and keep it if it was refused."""
        with self._lock:
            self._requests[exchange.kind] += 1
            if exchange.refusal is not None:
                self._codes[exchange.refusal.code] += 1
                self._refused.append(_refused(self._codes.total(), exchange))

    @property
    def refusals(self) -> tuple[Refused, ...]:
        """The last refusals, the latest first."""
        with self._lock:
            return tuple(reversed(self._refused))

    @property
    def counts(self) -> Counts:
        """The counts since this observer was created."""
        with self._lock:
            return Counts(dict(self._requests), dict(self._codes))


def _refused(number: int, exchange: Exchange) -> Refused:
    refusal = exchange.refusal
    assert refusal is not None  # noqa: S101 - it is what makes an exchange a refused one
    return Refused(
        number=number,
        at=exchange.at,
        provider=exchange.provider,
        caller=said.word(exchange.caller),
        wallet=said.word(exchange.wallet),
        project=said.word(exchange.project),
        model=said.word(exchange.model),
        action=said.word(exchange.action),
        asked=exchange.quoted or said.asked(refusal),
        code=refusal.code,
        reason=said.reason(refusal),
        hint=said.hint(refusal),
    )
