"""Callback door: providers call the gateway, which passes callbacks on to the job's client.

The receiver settles the job, as everywhere. Then the same bytes and headers go to the client's
address, and the provider gets the answer of the client's server, so that it retries exactly when it
would without the gateway. Settling and passing on are independent, and repeated or late callbacks
are passed on too: the client gets the same callbacks as without the gateway.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from kling_ledger.callbacks.hearing import (
    ANSWER_S,
    RETRY_AFTER_S,
    Hearing,
    UnreadError,
    answer,
    answer_to,
    read_payload,
    silent,
)
from kling_ledger.callbacks.receiver import Receipt, Receiver
from kling_ledger.errors import CallbackError, SignatureError
from kling_ledger.gateway.answers import passed_on
from kling_ledger.gateway.events import Exchange, Kind, Observer, tell
from kling_ledger.gateway.relay import (
    ALLOWED,
    Headers,
    Relay,
    RelayError,
    RelayRefusedError,
    check_address,
    host_of,
)
from kling_ledger.ledger import Reservation
from kling_ledger.providers.callback_rules import check_callback_url, is_loopback, rule_in_words
from kling_ledger.providers.registry import FACTS, provider_facts
from kling_pricing.errors import KlingError, Problem, RequestError

log: Final = logging.getLogger("kling_ledger.gateway")

SETTLE_S: Final = 2.5
"""How long passing on waits for the job to be settled first."""

_POSTS: Final = 32
_LEFT_BEHIND: Final = frozenset(
    {
        "host",
        "content-length",
        "accept-encoding",
        "authorization",
        "cookie",
        "expect",
        "forwarded",
        "via",
        "x-real-ip",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
    }
)
"""Headers about the connection to us, which the client does not get."""


def rewritten(
    body: dict[str, Any],
    *,
    provider: str,
    address: str,
    public_url: str | None,
    proof: Callable[[str], str],
) -> tuple[dict[str, Any], str | None]:
    """Return the body to send, and the client's callback address or None.

    If providers can reach the gateway at `public_url`, an address there replaces the client's.
    `address` is the provider's own: one on this machine is a rehearsal. Raises RequestError for an
    address that the provider or the gateway would not call.
    """
    url, facts = body.get("callback_url"), provider_facts(provider)
    if public_url is None or facts.callback is None or url is None:
        return body, None
    try:
        check_callback_url(facts, body, address=address)
        check_address(url, may_be_local=is_loopback(address))
    except (RequestError, RelayRefusedError):
        # The rest of the address may be secret, and others can see refusals too.
        allowed = f"{rule_in_words(facts.callback)}; here, {ALLOWED}"
        raise RequestError([Problem("callback_url", host_of(url), allowed)]) from None
    ours = f"{public_url.rstrip('/')}/callbacks/{provider}/{proof(str(url))}"
    return {**body, "callback_url": ours}, str(url)


@dataclass(frozen=True, slots=True)
class _Call:
    """One raw callback; `proof` is the last part of its address."""

    provider: str
    proof: str
    headers: Mapping[str, str]
    payload: bytes


@dataclass(frozen=True, slots=True)
class _Passed:
    """The result of passing a callback on: the client's answer, or why there is none."""

    status: int | None = None
    error: RelayError | None = None


class CallbackDoor:
    """Receives callbacks at /callbacks/{provider}, and passes them on. Close it after use.

    Only callbacks to the address given to the provider are passed on: its last part proves that. A
    provider is answered after `answer_s` at the latest. `on_receipt` gets the receipt of each
    callback, `observers` its answer.
    """

    def __init__(
        self,
        receiver: Receiver,
        relay: Relay,
        *,
        answer_s: float = ANSWER_S,
        settle_s: float = SETTLE_S,
        on_receipt: Callable[[Receipt], None] = silent,
        observers: Sequence[Observer] = (),
    ) -> None:
        self._receiver = receiver
        self._ledger = receiver.ledger
        self._relay = relay
        self._answer_s = answer_s
        self._settle_s = settle_s
        self._observers = observers
        self._hearing = Hearing(receiver, on_receipt)
        # A client's server may hang: it must not delay settling a job.
        self._posting = ThreadPoolExecutor(_POSTS, thread_name_prefix="relay")
        self._under_way: set[asyncio.Task[Receipt]] = set()

    def routes(self) -> list[Route]:
        """Return the addresses that providers call."""
        paths = ("/callbacks/{provider}", "/callbacks/{provider}/{proof}")
        return [Route(path, self._called, methods=["POST"]) for path in paths]

    async def stop(self) -> None:
        """Stop all waiting for jobs; call it on the server's own thread."""
        self._hearing.stop()

    def close(self) -> None:
        """Wait for polls, writes and posts in progress."""
        self._hearing.close()
        self._posting.shutdown(wait=True, cancel_futures=True)

    async def _called(self, request: Request) -> Response:
        at, begun = self._receiver.clock(), time.perf_counter()
        told: list[Receipt] = []
        try:
            reply = await self._answered(request, told)
        except UnreadError as error:
            reply = answer(error.status, error.said)
        self._tell(request.path_params["provider"], told, at, begun, reply.status_code)
        return reply

    def _tell(
        self, provider: str, told: list[Receipt], at: datetime, begun: float, status: int
    ) -> None:
        found = told[0].reservation if told else None
        exchange = Exchange(
            at=at,
            provider=provider if provider in FACTS else "unknown",
            kind=Kind.CALLBACK,
            status=status,
            took_s=time.perf_counter() - begun,
            reservation_id=None if found is None else found.id,
            committed=None if found is None else found.committed,
        )
        tell(self._observers, exchange)

    async def _answered(self, request: Request, told: list[Receipt]) -> Response:
        payload = await read_payload(request)
        given = request.path_params
        call = _Call(given["provider"], given.get("proof", ""), request.headers, payload)
        try:
            async with asyncio.timeout(self._answer_s):
                return await self._heard(call, told)
        except TimeoutError:
            # The work continues; a retry finds it done.
            return answer(503, "still being asked", retry_after_s=RETRY_AFTER_S)

    async def _heard(self, call: _Call, told: list[Receipt]) -> Response:
        """Settle a job and call its client; slow settling continues in the background."""
        hearing = asyncio.ensure_future(
            self._hearing.heard(call.provider, call.headers, call.payload)
        )
        self._under_way.add(hearing)
        hearing.add_done_callback(self._under_way.discard)
        if call.proof:
            await asyncio.wait({hearing}, timeout=self._settle_s)
            passed = await self._passed(call, hearing.result() if hearing.done() else None)
            if passed is not None:
                told.extend([hearing.result()] if hearing.done() else [])
                return _answer_of(passed)
        told.append(await asyncio.shield(hearing))
        return answer_to(told[0])

    async def _passed(self, call: _Call, receipt: Receipt | None) -> _Passed | None:
        """Pass a callback on, or return None if there is no client to call."""
        if receipt is not None and receipt.reservation is None:
            return None
        found = None if receipt is None else receipt.reservation
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._posting, partial(self._pass_on, call, found))

    def _pass_on(self, call: _Call, known: Reservation | None) -> _Passed | None:
        try:
            found = known or self._job_of(call)
            url = None if found is None else self._ledger.reservations.relay_of(found.id)
            if found is None or url is None or not self._is_proven(call, url):
                return None
            is_rehearsal = is_loopback(found.job.address)
            headers = _headers(call.headers)
            return _Passed(self._relay.post(url, call.payload, headers, may_be_local=is_rehearsal))
        except (SignatureError, CallbackError):
            return None
        except RelayError as error:
            log.warning("%s", error)
            return _Passed(error=error)
        except KlingError as error:
            log.warning("a callback could not be passed on yet: %s", error)
            return _Passed(error=RelayError("its client", "the ledger cannot be reached"))

    def _job_of(self, call: _Call) -> Reservation | None:
        callback = self._receiver.read(call.provider, call.headers, call.payload)
        return self._ledger.reservations.of_task(callback.provider, callback.task_id)

    def _is_proven(self, call: _Call, url: str) -> bool:
        proof = self._ledger.reservations.relay_proof(url)
        return hmac.compare_digest(proof.encode(), call.proof.encode())


def _headers(given: Mapping[str, str]) -> Headers:
    kept = passed_on(given.items(), leaving=_LEFT_BEHIND)
    return [(name.encode("latin-1"), text.encode("latin-1")) for name, text in kept.items()]


def _answer_of(passed: _Passed) -> Response:
    """Answer a provider as the client's server did: anything but success is retried."""
    if isinstance(passed.error, RelayRefusedError):
        return answer(502, "the client's address is not called")
    if passed.status is None:
        return answer(503, "the client's server did not answer", retry_after_s=RETRY_AFTER_S)
    if 200 <= passed.status < 300:
        return Response(status_code=passed.status)
    return answer(502, f"the client's server answered {passed.status}")
