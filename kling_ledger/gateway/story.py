"""Story: what happens to a request while it is answered, and what is reported at the end."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from kling_ledger.gateway.callers import Caller
from kling_ledger.gateway.events import Exchange, Kind, Observer, tell
from kling_ledger.ledger import Reservation
from kling_pricing.errors import KlingError
from kling_pricing.gateways import parse_body

_Answer = TypeVar("_Answer")


@dataclass(slots=True)
class Story:
    """One request: its caller, its purpose, and its result so far.

    `model` and `action` are set for a refused job, which has no reservation.
    """

    provider: str
    at: datetime
    begun: float = field(default_factory=time.perf_counter)
    kind: Kind = Kind.OTHER
    caller: Caller | None = None
    reservation: Reservation | None = None
    upstream_s: float = 0.0
    refusal: KlingError | None = None
    model: str | None = None
    action: str | None = None

    async def timed(self, asking: Awaitable[_Answer]) -> _Answer:
        """Await a provider's answer, and record how long it took."""
        begun = time.perf_counter()
        try:
            return await asking
        finally:
            self.upstream_s = time.perf_counter() - begun

    def refused(self, text: str, action: str | None) -> None:
        """Record the request of a refused body, as far as it can be read."""
        self.model, self.action = _model_in(text), action

    def tell(self, observers: Iterable[Observer], status: int) -> None:
        """Notify all observers of the result."""
        tell(observers, self._exchange(status))

    def _exchange(self, status: int) -> Exchange:
        caller, found = self.caller, self.reservation
        job = None if found is None else found.job
        return Exchange(
            at=self.at,
            provider=self.provider,
            kind=self.kind,
            status=status,
            took_s=time.perf_counter() - self.begun,
            upstream_s=self.upstream_s,
            caller=None if caller is None else caller.name,
            wallet=None if caller is None else caller.wallet,
            project=self._project,
            model=self.model if job is None else job.model,
            action=self.action if job is None else job.action,
            reservation_id=None if found is None else found.id,
            quoted=None if job is None else job.quoted,
            held=None if found is None else found.held,
            committed=None if found is None else found.committed,
            refusal=self.refusal,
            settled_by=None if found is None else found.settled_by,
        )

    @property
    def _project(self) -> str | None:
        if self.reservation is not None:
            return self.reservation.project
        return None if self.caller is None else self.caller.project


def _model_in(text: str) -> str | None:
    try:
        model = parse_body(text).get("model")
    except KlingError:
        return None
    return model if isinstance(model, str) else None
