"""App: every request below a provider's name is let in, judged, and answered in its dialect."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Final, TypeVar

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from kling_ledger.errors import ConfigError, JobRefusedError, NotFoundError
from kling_ledger.gateway.answers import RESERVATION_HEADER, answer, money_headers
from kling_ledger.gateway.callers import Caller, caller_of, names_token
from kling_ledger.gateway.doors import DOORS, Door, Poll, Submit
from kling_ledger.gateway.events import Exchange, Kind, Observer
from kling_ledger.gateway.guard import Guard
from kling_ledger.gateway.passing import Passage
from kling_ledger.gateway.paths import checked_path
from kling_ledger.gateway.polls import Polls, Tasks, is_running
from kling_ledger.gateway.refusing import problem_of, refusal
from kling_ledger.gateway.settings import LARGEST_BODY, GatewaySettings
from kling_ledger.gateway.submits import Submits, Submitted
from kling_ledger.gateway.wires import Wires
from kling_ledger.jobs.meter import Meter
from kling_ledger.ledger import Ledger, Reservation
from kling_pricing.errors import KlingError
from kling_pricing.gateways import parse_body

log: Final = logging.getLogger("kling_ledger.gateway")

BODY_S: Final = 15.0
"""How long the body of a submission may take to arrive."""

THREADS: Final = 96
"""How many submissions are under way at the same time; others wait for their turn."""

_NAME_HEADER: Final = "X-Client-Request-Id"
_METHODS: Final = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_Result = TypeVar("_Result")


class _LateError(ConfigError):
    """A body that came too slowly, or not whole."""


class _LargeError(ConfigError):
    """A body that is larger than any that is documented."""


@dataclass(slots=True)
class _Story:
    """What becomes of one request while it is answered."""

    door: Door
    at: datetime
    begun: float
    kind: Kind = Kind.OTHER
    caller: Caller | None = None
    reservation: Reservation | None = None
    upstream_s: float = 0.0
    refusal: KlingError | None = None
    model: str | None = None
    action: str | None = None


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
        self.asgi = Starlette(
            routes=[
                *routes,
                *(
                    Route(f"/{name}/{{rest:path}}", partial(self._answered, door), methods=_METHODS)
                    for name, door in DOORS.items()
                    if name in settings.upstreams
                ),
            ]
        )

    async def stop(self) -> None:
        """Close the connections that are the event loop's."""
        await self._passage.close()

    def close(self) -> None:
        """Wait for what is being sent or written, and close all connections."""
        self._workers.shutdown(wait=True)
        self._wires.close()

    async def _answered(self, door: Door, request: Request) -> Response:
        story = _Story(door, self._ledger.now(), time.perf_counter())
        try:
            reply = await self._judged(request, story)
        except KlingError as error:
            story.refusal = error
            reply = self._refused(door, error)
        self._tell(story, reply.status_code)
        return reply

    async def _judged(self, request: Request, story: _Story) -> Response:
        door = story.door
        path = checked_path(request.scope["raw_path"])[len(door.provider) + 1 :]
        way = door.way(request.method, path, request.url.query)
        story.kind = _kind_of(way)
        story.caller = caller = await self._caller(door, request)
        if self._guard is not None and caller.token is None:
            self._guard.check_caller(request)
        if isinstance(way, Submit):
            return await self._submitted(request, story, caller, way)
        if isinstance(way, Poll):
            return await self._polled(request, story, caller, way, path)
        if not (way.is_free or caller.brings_key):
            raise ConfigError(
                f"{request.method} {path} is not metered, and the gateway's key is not spent on it",
                hint="bring a key of your own, or ask for a Kling job at its documented address",
            )
        return await self._timed(story, self._passage.pass_on(request, door.dialect, path, caller))

    async def _caller(self, door: Door, request: Request) -> Caller:
        find = partial(caller_of, self._ledger, self._settings, door.dialect, request.headers)
        # Only a token is looked up in the ledger, which may have to be waited for.
        return await self._working(find) if names_token(door.dialect, request.headers) else find()

    async def _submitted(
        self, request: Request, story: _Story, caller: Caller, way: Submit
    ) -> Response:
        text = await _text(request)
        work = partial(self._submits.submit, caller, story.door.provider, way.action, text)
        try:
            done: Submitted = await self._working(work)
        except KlingError:
            story.model, story.action = _model_in(text), way.action
            raise
        story.reservation, story.upstream_s = done.reservation, done.upstream_s
        if done.reservation.task_id is not None:
            self._tasks.know(story.door.provider, done.reservation.task_id, done.reservation)
        if done.reply is not None:
            reply = answer(done.reply)
            # The provider knows the request by its reservation, its client by a name of its own.
            if _NAME_HEADER in reply.headers and _NAME_HEADER in request.headers:
                reply.headers[_NAME_HEADER] = request.headers[_NAME_HEADER]
        else:
            error = done.error or JobRefusedError(story.door.provider, "no answer")
            story.refusal = error
            reply = self._refused(story.door, error)
        reply.headers.update(money_headers(done.reservation, done.left))
        return reply

    async def _polled(
        self, request: Request, story: _Story, caller: Caller, way: Poll, path: str
    ) -> Response:
        door = story.door
        meter = self._submits.meter(caller, door.provider)
        await self._check_is_theirs(caller, meter, way.task_id)
        heard = await self._timed(story, self._passage.ask(request, door.dialect, path, caller))
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
        """Refuse to show a task under the gateway's own key to a token of another wallet."""
        if caller.token is None or caller.brings_key:
            return
        known = self._tasks.of(meter.provider.name, task_id)
        wallet = (
            known.wallet if known else await self._working(self._polls.wallet_of, meter, task_id)
        )
        if wallet != caller.wallet:
            raise NotFoundError("task", task_id)

    async def _timed(self, story: _Story, asking: Awaitable[_Result]) -> _Result:
        begun = time.perf_counter()
        try:
            return await asking
        finally:
            story.upstream_s = time.perf_counter() - begun

    async def _working(self, work: Callable[..., _Result], *given: Any) -> _Result:
        """Do work that blocks on a thread; it goes on where its caller does not wait for it."""
        loop = asyncio.get_running_loop()
        return await asyncio.shield(loop.run_in_executor(self._workers, partial(work, *given)))

    def _refused(self, door: Door, error: KlingError) -> Response:
        problem = problem_of(error, now=self._ledger.now())
        if isinstance(error, _LateError):
            problem = replace(problem, status=408)
        if isinstance(error, _LargeError):
            problem = replace(problem, status=413)
        return refusal(door.provider, problem)

    def _tell(self, story: _Story, status: int) -> None:
        told = _exchange(story, status)
        for observer in self._observers:
            try:
                observer(told)
            except Exception:
                log.warning("an observer raised", exc_info=True)


def _kind_of(way: object) -> Kind:
    return (
        Kind.SUBMIT
        if isinstance(way, Submit)
        else Kind.POLL
        if isinstance(way, Poll)
        else Kind.OTHER
    )


async def _text(request: Request) -> str:
    """Return the body of a submission, read whole within bounds."""
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise ConfigError("a submission is not compressed", hint="send the JSON as it is")
    content = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for part in request.stream():
                content += part
                if len(content) > LARGEST_BODY:
                    raise _LargeError(
                        f"the body is larger than {LARGEST_BODY} bytes",
                        hint="give pictures as addresses",
                    )
    except TimeoutError:
        raise _LateError(
            f"the body did not arrive within {BODY_S:g} s", hint="send it again"
        ) from None
    except ClientDisconnect:
        raise _LateError("the body was cut short", hint="send it again") from None
    return content.decode("utf-8", "surrogateescape")


def _model_in(text: str) -> str | None:
    """Return the model that a refused body names, None where it names none."""
    try:
        model = parse_body(text).get("model")
    except KlingError:
        return None
    return model if isinstance(model, str) else None


def _exchange(story: _Story, status: int) -> Exchange:
    caller, found = story.caller, story.reservation
    job = None if found is None else found.job
    return Exchange(
        at=story.at,
        provider=story.door.provider,
        kind=story.kind,
        status=status,
        took_s=time.perf_counter() - story.begun,
        upstream_s=story.upstream_s,
        caller=None if caller is None else caller.name,
        wallet=None if caller is None else caller.wallet,
        project=_project(story),
        model=story.model if job is None else job.model,
        action=story.action if job is None else job.action,
        reservation_id=None if found is None else found.id,
        quoted=None if job is None else job.quoted,
        held=None if found is None else found.held,
        committed=None if found is None else found.committed,
        refusal=story.refusal,
        settled_by=None if found is None else found.settled_by,
    )


def _project(story: _Story) -> str | None:
    if story.reservation is not None:
        return story.reservation.project
    return None if story.caller is None else story.caller.project
