"""App: authenticates, checks and answers every request below a provider's name."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import Receive, Scope, Send

from kling_ledger.errors import ConfigError, JobRefusedError, NotFoundError
from kling_ledger.gateway.answers import RESERVATION_HEADER, answer, money_headers
from kling_ledger.gateway.callers import Caller, caller_of, names_token, said_in
from kling_ledger.gateway.doors import DOORS, Door, Other, Poll, Submit, Way
from kling_ledger.gateway.events import Kind, Observer
from kling_ledger.gateway.guard import Guard
from kling_ledger.gateway.passing import Passage
from kling_ledger.gateway.paths import checked_path
from kling_ledger.gateway.polls import Polls, Tasks, is_running
from kling_ledger.gateway.reading import text_of
from kling_ledger.gateway.refusing import problem_of, refusal
from kling_ledger.gateway.settings import GatewaySettings
from kling_ledger.gateway.story import Story
from kling_ledger.gateway.submits import Submits, Submitted, UnfitError
from kling_ledger.gateway.wires import Wires
from kling_ledger.jobs.fitting import Fit
from kling_ledger.jobs.meter import Meter
from kling_ledger.ledger import Ledger, Reservation
from kling_pricing.errors import KlingError

log: Final = logging.getLogger("kling_ledger.gateway")

THREADS: Final = 96
"""How many submissions run at the same time; others wait."""

_NAME_HEADER: Final = "X-Client-Request-Id"

_KINDS: Final[Mapping[type[Way], Kind]] = {
    Submit: Kind.SUBMIT,
    Poll: Kind.POLL,
    Other: Kind.OTHER,
}
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_Result = TypeVar("_Result")


class _OurFaultError(KlingError):
    """A failure in the gateway itself: the log has the cause."""

    code = "our_fault"

    def __init__(self, kind: str) -> None:
        super().__init__(
            f"the gateway failed on this request ({kind})",
            hint="check its log; any job it has sent is in the ledger",
        )


class App:
    """The gateway as an application. `expect`, `forget` and `known` are the settlement's.

    `guard` keeps web pages of other sites from spending without a token.
    """

    def __init__(
        self,
        ledger: Ledger,
        settings: GatewaySettings,
        wires: Wires,
        *,
        guard: Guard | None = None,
        observers: Sequence[Observer] = (),
        routes: Sequence[BaseRoute] = (),
        expect: Callable[[Reservation, Meter], None] = lambda _, __: None,
        forget: Callable[[str], None] = lambda _: None,
        known: Callable[[Meter], None] = lambda _: None,
    ) -> None:
        self._ledger = ledger
        self._settings = settings
        self._guard = guard
        self._observers = observers
        self._wires = wires
        self._passage = Passage(settings, wires.trust)
        self._submits = Submits(ledger, settings, wires, expect)
        self._polls = Polls(ledger, forget, known)
        self._tasks = Tasks()
        self._workers = ThreadPoolExecutor(THREADS, thread_name_prefix="gateway")
        self._own = Starlette(routes=list(routes))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer requests below a provider's name; the gateway itself handles all others."""
        door = DOORS.get(scope.get("path", "")[1:].partition("/")[0])
        is_theirs = door is not None and door.provider in self._settings.upstreams
        # A success after CONNECT would open a tunnel, and to HTTP Crun's refusals are successes.
        if door is None or not is_theirs or scope["method"] not in _METHODS:
            await self._own(scope, receive, send)
            return
        reply = await self._answered(door, Request(scope, receive))
        await reply(scope, receive, send)

    async def stop(self) -> None:
        """Close the event loop's connections."""
        await self._passage.close()

    def close(self) -> None:
        """Wait for sends and writes in progress, and close all connections."""
        self._workers.shutdown(wait=True)
        self._wires.close()

    async def _answered(self, door: Door, request: Request) -> Response:
        story = Story(door.provider, self._ledger.now())
        try:
            reply = await self._judged(door, request, story)
        except UnfitError as unfit:
            story.refusal = unfit.error
            reply = self._refused(door, unfit.error, unfit.fit)
        except KlingError as error:
            story.refusal = error
            reply = self._refused(door, error)
        except Exception as error:
            log.exception("a request to %s failed in the gateway", door.provider)
            story.refusal = _OurFaultError(type(error).__name__)
            reply = self._refused(door, story.refusal)
        story.tell(self._observers, reply.status_code)
        return reply

    async def _judged(self, door: Door, request: Request, story: Story) -> Response:
        path = checked_path(request.scope["raw_path"])[len(door.provider) + 1 :]
        way = door.way(request.method, path, request.url.query)
        story.kind = _KINDS[type(way)]
        story.caller = caller = await self._caller(door, request)
        if self._guard is not None and caller.token is None:
            self._guard.check_caller(request)
        if isinstance(way, Submit):
            return await self._submitted(door, request, story, caller, way)
        if isinstance(way, Poll):
            return await self._polled(door, request, story, caller, way, path)
        if not (way.is_free or caller.brings_key):
            raise ConfigError(
                f"{request.method} {path} is not metered, so the gateway's key is not used for it",
                hint="send your own key, or submit a Kling job to its documented address",
            )
        return await story.timed(self._passage.pass_on(request, door.dialect, path, caller))

    async def _caller(self, door: Door, request: Request) -> Caller:
        said = said_in(request.headers)
        find = partial(caller_of, self._ledger, self._settings, door.dialect, said)
        # Only tokens need a lookup in the ledger, which may block.
        return await self._working(find) if names_token(door.dialect, said) else find()

    async def _submitted(
        self, door: Door, request: Request, story: Story, caller: Caller, way: Submit
    ) -> Response:
        text = await text_of(request)
        work = partial(self._submits.submit, caller, story.provider, way.action, text)
        try:
            done: Submitted = await self._working(work)
        except (KlingError, UnfitError):
            story.refused(text, way.action)
            raise
        story.reservation, story.upstream_s = done.reservation, done.upstream_s
        if done.reservation.task_id is not None:
            self._tasks.know(story.provider, done.reservation.task_id, done.reservation)
        if done.reply is not None:
            reply = answer(done.reply)
            # The provider gets the reservation as the idempotency key; the client uses its own.
            if _NAME_HEADER in reply.headers and _NAME_HEADER in request.headers:
                reply.headers[_NAME_HEADER] = request.headers[_NAME_HEADER]
        else:
            error = done.error or JobRefusedError(story.provider, "no answer")
            story.refusal = error
            reply = self._refused(door, error)
        reply.headers.update(money_headers(done.reservation, done.left))
        return reply

    async def _polled(
        self, door: Door, request: Request, story: Story, caller: Caller, way: Poll, path: str
    ) -> Response:
        meter = self._submits.meter(caller, door.provider)
        await self._check_is_theirs(caller, meter, way.task_id)
        heard = await story.timed(self._passage.ask(request, door.dialect, path, caller))
        reply = answer(heard)
        wire = self._wires.wire(door.provider, caller.key)
        known = self._tasks.of(door.provider, way.task_id)
        if known is not None and is_running(wire, way.task_id, heard):
            reply.headers[RESERVATION_HEADER] = known.reservation_id
            return reply
        seen = await self._working(self._polls.seen, meter, wire, way.task_id, heard)
        if seen.reservation is not None:
            story.reservation = seen.reservation
            self._tasks.know(door.provider, way.task_id, seen.reservation)
            reply.headers.update(money_headers(seen.reservation, seen.left))
        return reply

    async def _check_is_theirs(self, caller: Caller, meter: Meter, task_id: str) -> None:
        """Refuse to show a task under the gateway's own key to callers of another wallet."""
        if caller.brings_key:
            return
        known = self._tasks.of(meter.provider.name, task_id)
        wallet = (
            known.wallet if known else await self._working(self._polls.wallet_of, meter, task_id)
        )
        if wallet != caller.wallet:
            raise NotFoundError("task", task_id)

    async def _working(self, work: Callable[..., _Result], *given: Any) -> _Result:
        """Run blocking work on a thread; it continues if its caller stops waiting."""
        loop = asyncio.get_running_loop()
        return await asyncio.shield(loop.run_in_executor(self._workers, partial(work, *given)))

    def _refused(self, door: Door, error: KlingError, fit: Fit | None = None) -> Response:
        return refusal(door.provider, problem_of(error, now=self._ledger.now(), fit=fit))
