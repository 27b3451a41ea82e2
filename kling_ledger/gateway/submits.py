"""Submits: quotes and reserves a caller's job, sends it once, and passes the answer on."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final, cast

from kling_ledger.errors import (
    DatabaseError,
    JobInDoubtError,
    KeyUsedError,
    PollError,
    ProviderError,
    RefusedError,
    StateError,
)
from kling_ledger.gateway.callbacks import rewritten
from kling_ledger.gateway.callers import Caller
from kling_ledger.gateway.settings import GatewaySettings
from kling_ledger.gateway.wires import Wire, Wires
from kling_ledger.jobs.approving import approved
from kling_ledger.jobs.fitting import Fit, would_fit
from kling_ledger.jobs.meter import Meter
from kling_ledger.jobs.watch import Patience
from kling_ledger.ledger import Asked, Ledger, Reservation, State
from kling_ledger.ledger.lefts import Left
from kling_ledger.providers.http import Reply
from kling_pricing.errors import KlingError
from kling_pricing.gateways import Request, parse_body, read_request
from kling_pricing.money import Money

log: Final = logging.getLogger("kling_ledger.gateway")

_LOOK_EVERY_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Submitted:
    """The result of a submission: the provider's answer, or None and the reason.

    `upstream_s` is the provider's time.
    """

    reservation: Reservation
    left: Left | None
    reply: Reply | None
    upstream_s: float = 0.0
    error: KlingError | None = None


class UnfitError(Exception):
    """A limit refused a job; `fit` says what would be admitted."""

    def __init__(self, error: RefusedError, fit: Fit) -> None:
        super().__init__(error.message)
        self.error = error
        self.fit = fit


@dataclass(frozen=True, slots=True)
class Submits:
    """Submits jobs for callers; `expect` is called for each accepted job.

    Every call blocks, so it runs on its own thread.
    """

    ledger: Ledger
    settings: GatewaySettings
    wires: Wires
    expect: Callable[[Reservation, Meter], None]

    def submit(self, caller: Caller, provider: str, action: str | None, text: str) -> Submitted:
        """Reserve and send one job.

        Raises KlingError if nothing was sent for the caller, UnfitError for a limit.
        """
        body, called = rewritten(
            parse_body(text),
            provider=provider,
            address=self.wires.address(provider),
            public_url=self.settings.public_url,
            proof=self.ledger.reservations.relay_proof,
        )
        meter = self.meter(caller, provider)
        reservation = self._reserved(caller, meter, body, action)
        if reservation.task_id is None and reservation.is_open:
            if called is not None:
                self.ledger.reservations.relay_to(reservation.id, called)
            return self._sent(meter, reservation, body)
        return self._again(meter, reservation, caller.own_key or "")

    def _reserved(
        self, caller: Caller, meter: Meter, body: dict[str, Any], action: str | None
    ) -> Reservation:
        provider = meter.provider.name
        key = None if caller.own_key is None else _own_key(caller, provider)
        asked = meter.asked(body, action=action, key=key)
        try:
            asked = self._bounded(caller, asked)
            return meter.reserve_asked(asked)
        except RefusedError as error:
            fits = getattr(error, "fits", None)
            if not isinstance(fits, Money):
                raise
            fit = self._fit(read_request(provider, body, action=action), fits, asked)
            raise UnfitError(error, fit) from error

    def _fit(self, request: Request, fits: Money, asked: Asked) -> Fit:
        return would_fit(
            request,
            fits,
            at=self.ledger.now(),
            library=self.settings.library,
            held=asked.amount,
        )

    def _bounded(self, caller: Caller, asked: Asked) -> Asked:
        """Return a job within its caller's limits and its approval."""
        if caller.token is not None:
            asked = self.ledger.tokens.bound(
                caller.token,
                asked,
                project=caller.project,
                labels=caller.labels,
                run=caller.run,
            )
        return approved(
            self.ledger,
            asked,
            above=caller.approve_above,
            asked_by=caller.name or "the gateway",
            approval=caller.approval,
        )

    def meter(self, caller: Caller, provider: str) -> Meter:
        """Return the meter that a caller's jobs at a provider run through."""
        return Meter(
            self.ledger,
            self.wires.wire(provider, caller.key),
            wallet=caller.wallet,
            project=caller.project,
            labels=caller.labels,
            ceiling=caller.ceiling,
            asks_estimate=self.settings.asks_estimate,
            library=self.settings.library,
            patience=Patience(
                poll_every_s=self.settings.poll_every_s, longest_s=self.settings.longest_s
            ),
        )

    def _sent(self, meter: Meter, reserved: Reservation, body: dict[str, Any]) -> Submitted:
        heard: list[Reply] = []
        begun = time.perf_counter()
        error: KlingError | None = None
        try:
            _hearing(meter, heard.append).submit(reserved, body)
        except StateError:
            # Another request with the same key is sending it: use its answer.
            return self._after_the_sender(meter, reserved)
        except KlingError as raised:
            if not isinstance(raised, ProviderError) and not heard:
                raise
            error = raised
        took_s = time.perf_counter() - begun
        found, left = self._now(reserved)
        if found.is_open:
            self.expect(found, meter)
        return Submitted(found, left, heard[-1] if heard else None, took_s, error)

    def _now(self, known: Reservation) -> tuple[Reservation, Left | None]:
        """Return a reservation's current or last known state: a sent job is always answered."""
        try:
            return self.ledger.reservations.with_left(known.id)
        except DatabaseError as error:
            log.warning("job %s: its state cannot be read: %s", known.id, error)
            return known, None

    def _again(self, meter: Meter, found: Reservation, key: str) -> Submitted:
        """Answer a repeated key with the current state of its task, if there is one."""
        if found.task_id is None:
            raise KeyUsedError(key, reservation_id=found.id, state=found.state)
        heard: list[Reply] = []
        begun = time.perf_counter()
        with suppress(PollError):
            status = _hearing(meter, heard.append).poll(found, is_patient=False)
            meter.observe(found, status)
        took_s = time.perf_counter() - begun
        return Submitted(*self._now(found), heard[-1] if heard else None, took_s)

    def _after_the_sender(self, meter: Meter, reserved: Reservation) -> Submitted:
        give_up_at = time.monotonic() + self.settings.timeout_s
        while time.monotonic() < give_up_at:
            found = self.ledger.reservations.get(reserved.id)
            if found.state is not State.SUBMITTING:
                return self._again(meter, found, reserved.id)
            time.sleep(_LOOK_EVERY_S)
        raise JobInDoubtError(meter.provider.name, "another request is still sending it")


def _own_key(caller: Caller, provider: str) -> str:
    """Return a caller's key as stored in the ledger: two callers may use the same key."""
    return f"gateway/{caller.name or '-'}/{provider}/{caller.own_key}"


def _hearing(meter: Meter, hear: Callable[[Reply], None]) -> Meter:
    """Return a meter that keeps its provider's raw answers."""
    return replace(meter, provider=replace(cast("Wire", meter.provider), hear=hear))
