"""Batch: many jobs at once, as many in flight as allowed, each by the meter, none of them twice.

A job's key follows from its content, so that the same batch again goes on where it stopped. One
thread decides what is next; a few others make the calls. Polls keep to a rate for each provider.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import timedelta
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any, Final

from kling_ledger.config import SENDING_S
from kling_ledger.errors import JobRefusedError, StateError, TotalError
from kling_ledger.jobs.meter import Meter, Watch
from kling_ledger.ledger import Ledger, Reservation, State
from kling_pricing.errors import KlingError
from kling_pricing.gateways import Request
from kling_pricing.money import Money
from kling_pricing.quote import Quote

CALLS_AT_ONCE: Final = 32
"""How many calls are made at the same time at most; jobs in flight may be many more."""

POLLS_PER_S: Final = 20.0
"""How often one provider is asked in all, unless the caller says otherwise."""

_ATTEMPTS: Final = 5
_PAUSE_S: Final = 2.0
_LOOK_AGAIN_S: Final = 0.5
_LONGEST_WAIT_S: Final = 0.25
_CATCH_UP_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class BatchJob:
    """One row of a batch: what is asked of which provider, under which key.

    `place` is its row, from 1; `key` is the caller's own or follows from the content.
    """

    place: int
    request: Request
    quote: Quote
    key: str
    project: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def provider(self) -> str:
        """Who makes the clip."""
        return self.request.clip.provider


@dataclass(frozen=True, slots=True)
class Attempt:
    """A job and how often it is tried with this: each attempt has a reservation of its own."""

    job: BatchJob
    number: int = 1

    @property
    def key(self) -> str:
        """What its reservation is known by."""
        return self.job.key if self.number == 1 else f"{self.job.key}/again-{self.number}"

    @property
    def next(self) -> Attempt:
        """The attempt after this one came to nothing."""
        return replace(self, number=self.number + 1)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job so far; `error` is why it was not started or is not known.

    `is_running` says that a batch is still at it.
    """

    attempt: Attempt
    reservation: Reservation | None = None
    error: KlingError | None = None
    is_running: bool = False

    @property
    def job(self) -> BatchJob:
        """The job that this became of."""
        return self.attempt.job

    @property
    def is_done(self) -> bool:
        """Whether the job was charged and has made something, as far as its provider tells."""
        found = self.reservation
        if found is None or found.state is not State.COMMITTED:
            return False
        return bool(found.videos) or found.settled_by == "quote"

    @property
    def is_open(self) -> bool:
        """Whether credits are still set aside for the job."""
        return self.reservation is not None and self.reservation.is_open

    def is_to_do(self, *, retries_failed: bool) -> bool:
        """Whether another run has something to do: follow it, or try again what came to nothing.

        What no provider ever took made nothing and cost nothing. What one took, and failed with,
        is tried again only where that is asked for.
        """
        found = self.reservation
        if found is None or found.is_open:
            return True
        if found.state is State.COMMITTED:
            return False
        return retries_failed or found.task_id is None


def content_keys(name: str, rows: Iterable[tuple[Request, str | None, str | None]]) -> list[str]:
    """Return a key for each row of a batch: its own, or one that follows from its content.

    Rows are a request, a project and a caller's own key. The same content again in one batch is
    another job: it counts up.
    """
    seen: Counter[str] = Counter()
    keys = []
    for request, project, own in rows:
        clip = request.clip
        content = json.dumps([clip.provider, clip.action, request.payload_hash, project])
        key = own or f"batch/{name}/{hashlib.sha256(content.encode()).hexdigest()[:20]}"
        seen[key] += 1
        keys.append(key if own or seen[key] == 1 else f"{key}/{seen[key]}")
    return keys


def known_outcomes(ledger: Ledger, jobs: Iterable[BatchJob]) -> dict[int, Outcome]:
    """Return what is known of jobs that were started before, by their place: the last attempt."""
    known: dict[int, Outcome] = {}
    asked = [Attempt(job) for job in jobs]
    while asked:
        found = ledger.reservations.of_keys([one.key for one in asked])
        tried = [one for one in asked if one.key in found]
        known.update({one.job.place: Outcome(one, found[one.key]) for one in tried})
        asked = [one.next for one in tried if not found[one.key].is_open]
    return known


def attempts_to_do(
    jobs: Iterable[BatchJob], known: Mapping[int, Outcome], *, retries_failed: bool = False
) -> list[Attempt]:
    """Return what is left to do of jobs: those in flight first, then the others in their order."""
    in_flight, others = [], []
    for job in jobs:
        before = known.get(job.place)
        if before is None:
            others.append(Attempt(job))
        elif before.is_open:
            in_flight.append(before.attempt)
        elif before.is_to_do(retries_failed=retries_failed):
            others.append(before.attempt.next)
    return in_flight + others


def totals(quotes: Iterable[Quote]) -> dict[str, Money]:
    """Return what quotes come to, by unit."""
    sums: dict[str, Money] = {}
    for quote in quotes:
        amount: Any = quote.amount
        sums[amount.unit] = sums[amount.unit] + amount if amount.unit in sums else amount
    return sums


@dataclass(frozen=True, slots=True)
class _Step:
    """How far an attempt was moved on, and in how many seconds to do what about it.

    With a `watch` its job is asked for then; else `again` is begun. Without a pause it is over.
    """

    outcome: Outcome
    pause_s: float | None = None
    watch: Watch | None = None
    again: Attempt | None = None


class _Polls:
    """The polls of one provider that are due, and when the next one may be made.

    Whoever comes late may catch up with a tenth of a second, no more.
    """

    def __init__(self, per_s: float) -> None:
        self.steps: deque[_Step] = deque()
        self.next_at = 0.0
        self._every_s = 1 / per_s

    def is_next(self, now: float) -> bool:
        return bool(self.steps) and self.next_at <= now

    def take(self, now: float) -> _Step:
        self.next_at = max(self.next_at, now - _CATCH_UP_S) + self._every_s
        return self.steps.popleft()


class _Allowance:
    """What the jobs of a batch may cost in all: each takes its part before it is reserved."""

    def __init__(self, most: Money | None) -> None:
        self._most = most
        self._micro_of: Counter[int] = Counter()
        self._micro = 0
        self._lock = Lock()

    def promise(self, place: int, amount: Money) -> None:
        """Take what a job needs. Raises TotalError where that would be more than is allowed."""
        with self._lock:
            cost = self._micro - self._micro_of[place] + amount.micro
            if self._most is not None and cost > self._most.micro:
                raise TotalError(cost=Money.from_micro(cost, amount.unit), most=self._most)
            self._set(place, amount.micro)

    def settle(self, outcome: Outcome) -> None:
        """Let a job that is over keep what it really cost, and give back the rest."""
        found = outcome.reservation
        if found is None or not found.is_open:
            spent = 0 if found is None or found.committed is None else found.committed.micro
            with self._lock:
                self._set(outcome.job.place, spent)

    def _set(self, place: int, micro: int) -> None:
        self._micro += micro - self._micro_of[place]
        self._micro_of[place] = micro


class Batch:
    """Jobs that run at once. `on_change` is told of each outcome as it changes, in one thread.

    `meters` gives the meter of each provider. At most `concurrency` jobs are in flight. A job that
    a provider refuses for now only is tried again by itself, a few times. What another process may
    just be sending is left to it for `grace_s`. All jobs together may cost `max_total`: whatever a
    live estimate asks for above that is refused.
    """

    def __init__(
        self,
        meters: Mapping[str, Meter],
        attempts: Sequence[Attempt],
        *,
        concurrency: int = 8,
        polls_per_s: float = POLLS_PER_S,
        grace_s: float = SENDING_S,
        max_total: Money | None = None,
        on_change: Callable[[Outcome], None] = lambda _: None,
    ) -> None:
        self._meters = meters
        self._waiting = deque(attempts)
        self._first = {attempt.job.place: attempt.number for attempt in attempts}
        self._concurrency = concurrency
        self._calls = min(CALLS_AT_ONCE, concurrency)
        self._grace = timedelta(seconds=grace_s)
        self._allowance = _Allowance(max_total)
        self._on_change = on_change
        self._due: list[tuple[float, int, _Step]] = []
        self._later: list[tuple[float, int, Attempt]] = []
        self._polls = {name: _Polls(polls_per_s) for name in meters}
        self._called: set[Future[_Step | None]] = set()
        self._ended: SimpleQueue[Future[_Step | None]] = SimpleQueue()
        self._in_flight = 0
        self._is_stopping = False
        self._pool = ThreadPoolExecutor(self._calls, thread_name_prefix="batch")
        self.outcomes: dict[int, Outcome] = {}

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do."""
        is_asking = any(polls.steps for polls in self._polls.values())
        return not (self._waiting or self._later or self._due or is_asking or self._called)

    def run(self) -> dict[int, Outcome]:
        """Run every job to its end; return the outcomes by place.

        Whatever interrupts this, `stop` is to be called then: jobs that were sent stay open.
        """
        while not self.is_over:
            self._hand_out()
            self._take_in()
        self._pool.shutdown()
        return self.outcomes

    def stop(self) -> None:
        """Start no other call, and wait for those that were made."""
        self._is_stopping = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        wait(list(self._called))

    # --- what is next, in the caller's thread -----------------------------------------------

    def _hand_out(self) -> None:
        """Hand out what is due, polls before new jobs: whoever holds credits should end first."""
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            self._waiting.append(heapq.heappop(self._later)[2])
        while self._due and self._due[0][0] <= now:
            step = heapq.heappop(self._due)[2]
            self._polls[step.outcome.job.provider].steps.append(step)
        for polls in self._polls.values():
            while polls.is_next(now) and self._has_room():
                self._call(self._ask, polls.take(now))
        while self._waiting and self._in_flight < self._concurrency and self._has_room():
            self._in_flight += 1
            self._call(self._begin, self._waiting.popleft())

    def _call(self, make: Callable[[Any], _Step | None], given: _Step | Attempt) -> None:
        future = self._pool.submit(make, given)
        self._called.add(future)
        future.add_done_callback(self._ended.put)

    def _has_room(self) -> bool:
        # A call that had to wait for a thread would be made at another time than was decided.
        return len(self._called) < self._calls

    def _take_in(self) -> None:
        """Wait for a call to end or for one to be due; decide what follows from what ended."""
        try:
            self._decide(self._ended.get(timeout=self._pause_s()))
            while True:
                self._decide(self._ended.get_nowait())
        except Empty:
            pass

    def _pause_s(self) -> float:
        """Return how long nothing new is due, at most a moment: Ctrl-C should not wait either."""
        if not self._has_room():
            return _LONGEST_WAIT_S
        dues = [heap[0][0] for heap in (self._due, self._later) if heap]
        dues += [polls.next_at for polls in self._polls.values() if polls.steps]
        left_s = min(dues, default=math.inf) - time.monotonic()
        return min(max(left_s, 0.001), _LONGEST_WAIT_S)

    def _decide(self, future: Future[_Step | None]) -> None:
        self._called.discard(future)
        step = future.result()
        if step is None:
            return
        self._allowance.settle(step.outcome)
        place, at = step.outcome.job.place, time.monotonic() + (step.pause_s or 0)
        if step.watch is not None and step.pause_s is not None:
            heapq.heappush(self._due, (at, place, step))
        else:
            self._in_flight -= 1
            if step.again is not None:
                heapq.heappush(self._later, (at, place, step.again))
        if self.outcomes.get(place) != step.outcome:
            self.outcomes[place] = step.outcome
            self._on_change(step.outcome)

    # --- calls, in the threads of the pool ---------------------------------------------------

    def _begin(self, attempt: Attempt) -> _Step | None:
        """Reserve and submit an attempt; None where the batch is stopped before."""
        if self._is_stopping:
            return None
        job = attempt.job
        meter = replace(self._meters[job.provider], project=job.project, labels=job.labels)
        try:
            reservation = self._reserved(attempt, meter)
            if self._is_being_sent(meter, reservation):
                return self._look_again(attempt, meter, reservation)
            if reservation.is_open and reservation.task_id is None:
                meter.submit(reservation, job.request.body)
            return self._watched(attempt, meter, reservation)
        except KlingError as error:
            return self._not_begun(attempt, meter, error)

    def _reserved(self, attempt: Attempt, meter: Meter) -> Reservation:
        """Return an attempt's reservation, as it is where somebody is sending it, or a new one."""
        job = attempt.job
        found = meter.ledger.reservations.of_keys([attempt.key]).get(attempt.key)
        if found is not None and self._is_being_sent(meter, found):
            return found
        asked = meter.asked(job.request.body, action=job.request.clip.action, key=attempt.key)
        self._allowance.promise(job.place, asked.amount)
        return meter.ledger.reserve_many([asked])[0]

    def _is_being_sent(self, meter: Meter, found: Reservation) -> bool:
        is_young = meter.clock() - found.updated_at < self._grace
        return found.state is State.SUBMITTING and is_young

    def _look_again(self, attempt: Attempt, _: Meter, reservation: Reservation) -> _Step:
        """Leave a job to whoever is sending it, for a moment."""
        outcome = Outcome(attempt, reservation, is_running=True)
        return _Step(outcome, _LOOK_AGAIN_S, again=attempt)

    def _watched(self, attempt: Attempt, meter: Meter, reservation: Reservation) -> _Step:
        watch = Watch(meter, meter.ledger.reservations.get(reservation.id))
        if not watch.reservation.is_open:
            return _Step(Outcome(attempt, watch.reservation))
        outcome = Outcome(attempt, watch.reservation, is_running=True)
        return _Step(outcome, meter.patience.poll_every_s, watch)

    def _not_begun(self, attempt: Attempt, meter: Meter, error: KlingError) -> _Step:
        """Say what follows from an error: another attempt, another look, or nothing more."""
        found = meter.ledger.reservations.of_keys([attempt.key]).get(attempt.key)
        if isinstance(error, StateError) and found is not None:
            is_sent = not found.is_open or found.task_id is not None
            then = self._watched if is_sent else self._look_again
            return then(attempt, meter, found)
        if isinstance(error, JobRefusedError) and self._may_repeat(attempt, found, error):
            outcome = Outcome(attempt, found, error, is_running=True)
            return _Step(outcome, error.retry_after_s or _PAUSE_S, again=attempt.next)
        return _Step(Outcome(attempt, found, error))

    def _may_repeat(
        self, attempt: Attempt, found: Reservation | None, error: JobRefusedError
    ) -> bool:
        has_ended = found is not None and not found.is_open
        tried = attempt.number - self._first[attempt.job.place] + 1
        return error.retryable and has_ended and tried < _ATTEMPTS

    def _ask(self, step: _Step) -> _Step | None:
        """Ask for a job once; None where the batch is stopped before."""
        watch = step.watch
        if watch is None or self._is_stopping:
            return None
        outcome, error = step.outcome, None
        try:
            pause_s = watch.ask()
        except KlingError as failure:
            pause_s, error = None, failure
        now = Outcome(outcome.attempt, watch.reservation, error, is_running=pause_s is not None)
        return _Step(now, pause_s, watch)
