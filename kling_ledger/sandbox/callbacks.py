"""Postman: sends each job's callback when the job ends, as its markers ask.

A callback says what a poll would say. If no success is returned, the gateways that document retries
try again after 1, 2 and 4 seconds: EvoLink's schedule, also used for RunAPI, whose own is not
published. Source: https://github.com/Evolink-AI callbacks.md and https://github.com/runapi-ai/cli,
checked 2026-11-20.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import httpx

from kling_ledger.sandbox.desk import Desk, Dialect, Seen
from kling_ledger.sandbox.jobs import Delivery, Ending, Job, JobState
from kling_ledger.sandbox.signing import webhook_headers

_LOOK_EVERY_S: Final = 0.02
_TIMEOUT_S: Final = 10.0
_AT_ONCE: Final = 32


@dataclass(slots=True)
class Postman:
    """Follows every account whose jobs have callbacks; runs on the server's event loop."""

    dialects: Mapping[str, Dialect]
    base_url: str
    _task: asyncio.Task[None] | None = None
    _rounds: set[asyncio.Task[None]] = field(default_factory=set)

    def expect(self, job: Job) -> None:
        """Start watching for the end of a job that has a callback."""
        if job.order.callback_url is not None and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._watch())

    async def stop(self) -> None:
        """Stop at once, even with callbacks unsent."""
        tasks = [task for task in (self._task, *self._rounds) if task is not None]
        for task in tasks:
            task.cancel()
        # Once the first has closed their HTTP client, others may fail: nobody asks how they end.
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self) -> None:
        """Send callbacks until no more jobs will end."""
        gate = asyncio.Semaphore(_AT_ONCE)
        # Callbacks stay on this machine, so they need no proxy and no trusted certificate.
        async with httpx.AsyncClient(timeout=_TIMEOUT_S, trust_env=False, verify=False) as http:  # noqa: S501
            while not self._is_idle():
                for dialect in self.dialects.values():
                    while (ending := dialect.desk.store.next_ending()) is not None:
                        self._start(http, gate, dialect, ending)
                await asyncio.sleep(_LOOK_EVERY_S)
            await asyncio.gather(*self._rounds)

    def _is_idle(self) -> bool:
        return not self._rounds and all(d.desk.store.is_idle for d in self.dialects.values())

    def _start(
        self, http: httpx.AsyncClient, gate: asyncio.Semaphore, dialect: Dialect, ending: Ending
    ) -> None:
        task = asyncio.ensure_future(self._deliver(http, gate, dialect, ending))
        self._rounds.add(task)
        task.add_done_callback(self._rounds.discard)

    async def _deliver(
        self, http: httpx.AsyncClient, gate: asyncio.Semaphore, dialect: Dialect, ending: Ending
    ) -> None:
        for message in _messages(dialect, ending, self.base_url):
            async with gate:
                await _send(http, dialect.desk, ending.job, message)


@dataclass(frozen=True, slots=True)
class _Message:
    """One callback as posted; a retry has the same id."""

    id: str
    state: JobState
    body: bytes


def _messages(dialect: Dialect, ending: Ending, base_url: str) -> Iterator[_Message]:
    """Yield the callbacks of a job's end, in order."""
    asked = ending.job.order.markers.callbacks
    if "never" in asked:
        return
    times = 2 if "twice" in asked else 1
    for state in _states(ending):
        for _ in range(times):
            yield _message(dialect, ending.job, state, base_url)


def _states(ending: Ending) -> tuple[JobState, ...]:
    markers, state = ending.job.order.markers, ending.state
    if "reordered" not in markers.callbacks:
        return (state,)
    if not markers.revives:
        return state, JobState.PROCESSING
    # The failure is held back until the later success has been sent.
    is_held = state is JobState.FAILED
    return () if is_held else (state, JobState.FAILED, JobState.PROCESSING)


def _message(dialect: Dialect, job: Job, state: JobState, base_url: str) -> _Message:
    mask = None if job.is_plain else job.order.markers.state
    seen = Seen(job, state, mask.word if mask is not None and mask.times is None else None)
    body = json.dumps(dialect.callback_body(seen, base_url)).encode()
    digest = hashlib.sha256(f"{job.id}/{state}".encode()).hexdigest()
    return _Message(f"msg_{digest[:24]}", state, body)


async def _send(http: httpx.AsyncClient, desk: Desk, job: Job, message: _Message) -> None:
    """Post a message until it is accepted or the tries are used up."""
    retries = desk.settings.callback_retries_s if desk.gateway.calls_again else ()
    for wait_s in (0.0, *retries):
        await asyncio.sleep(wait_s)
        if await _post(http, desk, job, message):
            return


async def _post(http: httpx.AsyncClient, desk: Desk, job: Job, message: _Message) -> bool:
    url, at = job.order.callback_url or "", desk.now()
    try:
        secret = desk.settings.webhook_secret
        headers = webhook_headers(secret, message_id=message.id, at=at, body=message.body)
        headers["Content-Type"] = "application/json"
        reply = await http.post(url, content=message.body, headers=headers)
        outcome, is_taken = str(reply.status_code), reply.is_success
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        outcome, is_taken = type(error).__name__, False
    job.deliveries.append(Delivery(url, message.state, at, outcome))
    return is_taken
