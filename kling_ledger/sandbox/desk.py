"""Desk: what every dialect does with a create and a poll, and where a job's markers strike.

A dialect reads a request its own way, hands the desk what it asked for and how to write the
answer; the desk decides whether the job is taken, what it costs, and what goes wrong.
"""

from __future__ import annotations

import asyncio
import math
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

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
from kling_ledger.sandbox.settings import SandboxSettings, is_loopback
from kling_pricing.book import PriceBook
from kling_pricing.clip import Clip
from kling_pricing.errors import ClipError, PricingError, RequestError
from kling_pricing.gateways import Body, parse_body, read_request
from kling_pricing.gateways import Request as KlingRequest
from kling_pricing.money import Money
from kling_pricing.quote import quote

_PENDING_SHARE: Final = 4
"""A job is pending for this part of its time: one in so many."""

Handler = Callable[[Request], Awaitable[Response]]
WriteError = Callable[[ApiError], Response]


@dataclass(frozen=True, slots=True)
class Seen:
    """How a job looks from outside: its true state, and the word that hides it, if any."""

    job: Job
    state: JobState
    word: str | None = None


@dataclass(frozen=True, slots=True)
class Desk:
    """One provider account behind one dialect; `now` is the instant that `book` is read at."""

    provider: str
    settings: SandboxSettings
    store: JobStore
    book: PriceBook
    now: Callable[[], datetime]
    patience: Patience
    on_taken: Callable[[Job], None] = lambda _: None
    attempts: Counter[str] = field(default_factory=Counter)

    def answering(self, handler: Handler, write_error: WriteError) -> Handler:
        """Answer with a handler, its errors as the dialect writes them."""

        async def answer(request: Request) -> Response:
            try:
                return await handler(request)
            except ApiError as error:
                return write_error(error)

        return answer

    def keyed(self, handler: Handler, key_of: Callable[[Request], str]) -> Handler:
        """Answer with a handler, but only to somebody who brings the API key."""

        async def answer(request: Request) -> Response:
            self.check_key(key_of(request))
            return await handler(request)

        return answer

    def check_key(self, given: str) -> None:
        """Refuse somebody who does not bring the API key."""
        expected = (self.settings.api_key, self.settings.key_of(self.provider))
        if not any(secrets.compare_digest(given.encode(), key.encode()) for key in expected):
            raise ApiError(401, "the API key is missing or is not the sandbox's")

    def read(self, body: Body, action: str | None = None) -> KlingRequest:
        """Read a body as the provider does; 422 for what it would not take.

        A rehearsal calls back on this machine: such a `callback_url` is taken where the provider
        takes a public one.
        """
        is_own = self.provider != "uniall" and _is_own(body.get("callback_url"))
        checked = {name: body[name] for name in body if not is_own or name != "callback_url"}
        try:
            return replace(read_request(self.provider, checked, action=action), body=body)
        except PricingError as error:
            raise unprocessable(error) from None

    def priced(self, clip: Clip) -> Money:
        """Return what a clip costs by the book; 422 for one that has no price."""
        try:
            return quote(clip, at=self.now(), book=self.book).amount
        except PricingError as error:
            raise unprocessable(error) from None

    def markers(self, body: Body) -> tuple[Markers, tuple[str, ...]]:
        """Return a body's markers and how they are written: in its prompts, or by the seed."""
        prompt = prompt_of(body)
        written = written_markers(prompt)
        if not written and self.settings.misbehave is not None:
            written = script(job_seed(self.settings.misbehave, prompt))
        return read_markers("".join(written)), written

    async def estimate(
        self, body: Body, quoted: Money, write: Callable[[Money], Response]
    ) -> Response:
        """Tell the price of a body, as the body's markers ask."""
        markers, _ = self.markers(body)
        await asyncio.sleep(markers.latency_s)
        asked = markers.estimate
        if isinstance(asked, Fault):
            return spoiled(asked, write(quoted), self.patience)
        return write(quoted if asked is None else asked.of(quoted))

    async def create(
        self,
        asked: KlingRequest,
        quoted: Money,
        write: Callable[[Seen, bool], Response],
        *,
        key: str | None = None,
        client_request_id: str | None = None,
    ) -> Response:
        """Take a job, or find the one that the key has started, and answer as its markers ask.

        `write` is given how the job looks and whether it was there before.
        """
        order = self._order(asked, quoted, key, client_request_id)
        await asyncio.sleep(order.markers.latency_s)
        if not self.store.knows(key) and (refusal := self._refusal(order)) is not None:
            return spoiled(refusal, None, self.patience)
        job, is_reused = self._taken(order)
        if is_reused:
            return write(self.seen(job, job.polls + 1), True)
        self.on_taken(job)
        # A new job is pending in this reply even if it takes no time at all.
        reply = write(Seen(job, JobState.PENDING), False)
        lose = order.markers.lose
        return reply if lose is None else spoiled(lose, reply, self.patience)

    async def poll(self, job_id: str, write: Callable[[Seen], Response]) -> Response:
        """Answer a poll as the job's markers ask; 404 for a job that nobody knows."""
        job = self.store.find(job_id)
        if job is None:
            raise ApiError(404, "there is no such task")
        number = self.store.count_poll(job)
        fault = None if job.is_plain else job.order.markers.poll_fault(number)
        await asyncio.sleep(0 if job.is_plain else job.order.markers.latency_s)
        reply = write(self.seen(job, number))
        return reply if fault is None else spoiled(fault, reply, self.patience)

    def seen(self, job: Job, number: int) -> Seen:
        """Return how a job looks in the poll of that number."""
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

    def _order(
        self, asked: KlingRequest, quoted: Money, key: str | None, client_request_id: str | None
    ) -> Order:
        """Say what becomes of a request: what its markers ask for, else what is usual."""
        usual_s = self.settings.job_s
        markers, written = self.markers(asked.body)
        takes_s = usual_s if markers.takes_s is None else markers.takes_s
        revives_s = usual_s if markers.revives_s is None else markers.revives_s
        return Order(
            action=asked.clip.action,
            body=asked.body,
            fingerprint=asked.payload_hash,
            reserved=quoted,
            cost=markers.cost_of(quoted),
            pending_s=min(takes_s, usual_s) / _PENDING_SHARE,
            takes_s=takes_s,
            markers=markers,
            script=written,
            prompt=prompt_of(asked.body),
            key=key,
            client_request_id=client_request_id,
            callback_url=self.settings.callback_to(self.provider, asked.body.get("callback_url")),
            revives_s=revives_s if markers.revives else math.inf,
        )


async def json_body(request: Request) -> Body:
    """Return a request's JSON object; 400 for anything else."""
    try:
        return parse_body((await request.body()).decode())
    except (UnicodeDecodeError, RequestError) as error:
        raise ApiError(400, f"the body cannot be read: {error}") from None


def bearer(request: Request) -> str:
    """Return the key of an `Authorization: Bearer` header; empty without one."""
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def unprocessable(error: PricingError) -> ApiError:
    """Return the answer to a body that the provider would not take, or has no price for."""
    is_invalid = isinstance(error, (RequestError, ClipError))
    code = "validation" if is_invalid else "model_not_available"
    return ApiError(422, str(error), code=code)


def prompt_of(body: object) -> str:
    """Return every prompt in a body, those of its shots too, one to a line."""
    return "\n".join(_prompts(body))


def files_url(base_url: str, job: Job) -> str:
    """Return where the clip of a job is downloaded from."""
    return f"{base_url.rstrip('/')}/files/{job.id}.mp4"


def number(amount: Money, decimals: int = 6) -> int | float:
    """Return an amount as the JSON number that providers write; whole ones without a point."""
    value = round(amount.amount, decimals)
    return int(value) if value == int(value) else float(value)


def _is_own(callback_url: object) -> bool:
    return isinstance(callback_url, str) and is_loopback(callback_url)


def _prompts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "prompt" and isinstance(inner, str):
                yield inner
            else:
                yield from _prompts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _prompts(inner)
