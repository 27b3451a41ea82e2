"""Desk: what every dialect does with a create and a poll, and where a job's markers take effect.

A dialect passes a body and a function that writes the answer; the desk reads the body by the
gateway's contract, prices it by the tariff, and decides whether the job is taken and what goes
wrong.
"""

from __future__ import annotations

import asyncio
import math
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from kling_ledger.sandbox.addresses import is_loopback
from kling_ledger.sandbox.bodies import Asked, Body, fingerprint, prompt_of
from kling_ledger.sandbox.gateway import Gateway
from kling_ledger.sandbox.jobs import (
    AccountEmptyError,
    Job,
    JobState,
    JobStore,
    KeyReusedError,
    Order,
)
from kling_ledger.sandbox.markers import Fault, Markers, read_markers, written_markers
from kling_ledger.sandbox.replies import ApiError, Patience, spoiled
from kling_ledger.sandbox.scripts import job_seed, script
from kling_ledger.sandbox.tariff import Tariff
from kling_pricing.money import Money

if TYPE_CHECKING:
    from kling_ledger.sandbox.settings import SandboxSettings

_PENDING_SHARE: Final = 4
"""A job is pending for one part in this many of its time."""

Handler = Callable[[Request], Awaitable[Response]]
WriteError = Callable[[ApiError], Response]


@dataclass(frozen=True, slots=True)
class Seen:
    """How a job looks from outside: its true state, and the word that hides it, if any."""

    job: Job
    state: JobState
    word: str | None = None


@dataclass(frozen=True, slots=True)
class Received:
    """A body that the gateway's contract accepts: what it asks for and what that costs."""

    body: Body
    asked: Asked
    cost: Money


@dataclass(frozen=True, slots=True)
class Desk:
    """One provider account behind one dialect; `now` returns the time of day."""

    gateway: Gateway
    tariff: Tariff
    settings: SandboxSettings
    store: JobStore
    now: Callable[[], datetime]
    patience: Patience
    on_taken: Callable[[Job], None] = lambda _: None
    attempts: Counter[str] = field(default_factory=Counter)

    @property
    def provider(self) -> str:
        """The name of the gateway."""
        return self.gateway.name

    def answering(self, handler: Handler, write_error: WriteError) -> Handler:
        """Wrap a handler so that its errors are written in the dialect."""

        async def answer(request: Request) -> Response:
            try:
                return await handler(request)
            except ApiError as error:
                return write_error(error)

        return answer

    def keyed(self, handler: Handler, key_of: Callable[[Request], str]) -> Handler:
        """Wrap a handler so that it answers only requests with the API key."""

        async def answer(request: Request) -> Response:
            self.check_key(key_of(request))
            return await handler(request)

        return answer

    def check_key(self, given: str) -> None:
        """Refuse a request without the API key."""
        expected = (self.settings.api_key, self.settings.key_of(self.provider))
        if not any(secrets.compare_digest(given.encode(), key.encode()) for key in expected):
            raise ApiError(401, "the API key is missing or is not the sandbox's")

    def receive(self, body: Body, action: str = "") -> Received:
        """Read a body as the provider does; 422 for what it would not accept or has no price for.

        A rehearsal calls back on this machine: a loopback `callback_url` is accepted where the
        provider accepts a public one.
        """
        is_own = self.gateway.names_callback and is_loopback(body.get("callback_url"))
        checked = {name: body[name] for name in body if not is_own or name != "callback_url"}
        asked = self.gateway.read(checked, action)
        return Received(body, asked, self.tariff.charge(asked))

    def markers(self, body: Body) -> tuple[Markers, tuple[str, ...]]:
        """Return a body's markers and how they are written: in its prompts, or from the seed."""
        prompt = prompt_of(body)
        written = written_markers(prompt)
        if not written and self.settings.misbehave is not None:
            written = script(job_seed(self.settings.misbehave, prompt))
        return read_markers("".join(written)), written

    async def estimate(self, received: Received, write: Callable[[Money], Response]) -> Response:
        """Return the price of a body, as the body's markers ask."""
        quoted = received.cost
        markers, _ = self.markers(received.body)
        await asyncio.sleep(markers.latency_s)
        asked = markers.estimate
        if isinstance(asked, Fault):
            return spoiled(asked, write(quoted), self.patience)
        return write(quoted if asked is None else asked.of(quoted))

    async def create(
        self,
        received: Received,
        write: Callable[[Seen, bool], Response],
        *,
        key: str | None = None,
        client_request_id: str | None = None,
    ) -> Response:
        """Take a job, or find the one that the key started, and answer as its markers ask.

        `write` gets how the job looks and whether it existed before.
        """
        order = self._order(received, key, client_request_id)
        await asyncio.sleep(order.markers.latency_s)
        if not self.store.knows(key) and (refusal := self._refusal(order)) is not None:
            return spoiled(refusal, None, self.patience)
        job, is_reused = self._taken(order)
        if is_reused:
            return write(self.seen(job, job.polls + 1), True)
        self.on_taken(job)
        # A new job is pending in this reply even if it takes no time.
        reply = write(Seen(job, JobState.PENDING), False)
        lose = order.markers.lose
        return reply if lose is None else spoiled(lose, reply, self.patience)

    async def poll(self, job_id: str, write: Callable[[Seen], Response]) -> Response:
        """Answer a poll as the job's markers ask; 404 for an unknown job."""
        job = self.store.find(job_id)
        if job is None:
            raise ApiError(404, "no such task")
        number = self.store.count_poll(job)
        fault = None if job.is_plain else job.order.markers.poll_fault(number)
        await asyncio.sleep(0 if job.is_plain else job.order.markers.latency_s)
        reply = write(self.seen(job, number))
        return reply if fault is None else spoiled(fault, reply, self.patience)

    def seen(self, job: Job, number: int) -> Seen:
        """Return how a job looks in its poll of this number."""
        word = None if job.is_plain else job.order.markers.state_word(number)
        return Seen(job, self.store.state(job), word)

    def _taken(self, order: Order) -> tuple[Job, bool]:
        try:
            return self.store.submit(order)
        except KeyReusedError as error:
            raise ApiError(409, str(error)) from None
        except AccountEmptyError as error:
            raise ApiError(402, str(error)) from None

    def _refusal(self, order: Order) -> Fault | None:
        """Return how this attempt is refused, counting those with the same key or content."""
        fault = order.markers.refuse
        if fault is None or fault.times is None:
            return fault
        name = order.key or order.fingerprint
        self.attempts[name] += 1
        return fault if fault.strikes(self.attempts[name]) else None

    def _order(self, received: Received, key: str | None, client_request_id: str | None) -> Order:
        """Return an order as its markers ask, with the usual values for the rest."""
        body, quoted, usual_s = received.body, received.cost, self.settings.job_s
        markers, written = self.markers(body)
        takes_s = usual_s if markers.takes_s is None else markers.takes_s
        revives_s = usual_s if markers.revives_s is None else markers.revives_s
        return Order(
            action=received.asked.action,
            seconds=received.asked.seconds,
            body=body,
            fingerprint=fingerprint(body),
            reserved=quoted,
            cost=markers.cost_of(quoted),
            pending_s=min(takes_s, usual_s) / _PENDING_SHARE,
            takes_s=takes_s,
            markers=markers,
            script=written,
            prompt=prompt_of(body),
            key=key,
            client_request_id=client_request_id,
            callback_url=self.settings.callback_to(self.provider, body.get("callback_url")),
            revives_s=revives_s if markers.revives else math.inf,
        )


def bearer(request: Request) -> str:
    """Return the key of an `Authorization: Bearer` header; empty if there is none."""
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def files_url(base_url: str, job: Job) -> str:
    """Return the URL of a job's clip."""
    return f"{base_url.rstrip('/')}/files/{job.id}.mp4"


def number(amount: Money, decimals: int = 6) -> int | float:
    """Return an amount as the JSON number that providers write; whole ones without a point."""
    value = round(amount.amount, decimals)
    return int(value) if value == int(value) else float(value)


class Dialect(Protocol):
    """One provider's HTTP API."""

    @property
    def desk(self) -> Desk:
        """The account that it serves."""

    def routes(self) -> list[Route]:
        """Return the addresses that it serves."""

    def callback_body(self, seen: Seen, base_url: str) -> dict[str, Any]:
        """Return what is posted about a job."""
