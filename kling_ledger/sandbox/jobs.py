"""JobStore: one provider account in memory, with every job it ever took.

Nothing runs in the background: a job's state follows from its age, and the account is brought up to
date whenever it is read.
"""

from __future__ import annotations

import heapq
import math
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any

from kling_ledger.sandbox.markers import NO_MARKERS, Markers
from kling_pricing.errors import KlingError
from kling_pricing.money import Money


class JobState(StrEnum):
    """The state of a job, in the sandbox's own words; each dialect has its own spelling."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"


def progress(state: JobState | None) -> int:
    """Return a job's progress in percent: half while it runs, or while its state is hidden."""
    return {JobState.PENDING: 0, None: 50, JobState.PROCESSING: 50}.get(state, 100)


class KeyReusedError(KlingError):
    """An idempotency key was already used with other content."""

    code = "conflict"

    def __init__(self, job_id: str) -> None:
        super().__init__(f"this idempotency key was used with other content, for task {job_id}")
        self.job_id = job_id


class AccountEmptyError(KlingError):
    """The sandbox account holds less than the job costs, open jobs counted."""

    code = "insufficient_credits"

    def __init__(self, *, needed: Money, available: Money) -> None:
        super().__init__(f"the job needs {needed}, the sandbox account has {available} left")
        self.needed = needed
        self.available = available


@dataclass(frozen=True, slots=True)
class Order:
    """What the provider was asked to do, and what the sandbox decided to do with it.

    `reserved` is held while the job runs, `cost` is charged when it completes. `takes_s` is
    infinite for a job that never ends. `seconds` are billed, None if the request is charged as a
    whole. `fingerprint` is equal for equal content. `script` has the markers as written in the
    prompt or drawn from a seed.
    """

    action: str
    body: dict[str, Any]
    fingerprint: str
    reserved: Money
    cost: Money
    pending_s: float
    takes_s: float
    seconds: int | None = None
    markers: Markers = NO_MARKERS
    script: tuple[str, ...] = ()
    prompt: str = ""
    key: str | None = None
    client_request_id: str | None = None
    callback_url: str | None = None
    revives_s: float = math.inf

    @property
    def total(self) -> Money:
        """The total charge of the job when it completes."""
        return Money.from_micro(self.cost.micro * self.markers.charges, self.cost.unit)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One attempt to deliver a callback: where, when, and the HTTP status or what went wrong."""

    url: str
    state: str
    at: datetime
    outcome: str


@dataclass(slots=True, eq=False)
class Job:
    """An order that was taken; only its store changes it.

    `started_s`, `ends_s` and `revives_s` are on the store's clock, infinite if it never comes;
    `created_at` is UTC. `is_plain` is set once all misbehaviour of the job is cancelled.
    """

    id: str
    order: Order
    started_s: float
    created_at: datetime
    ends_s: float
    revives_s: float
    polls: int = 0
    downloads: int = 0
    times_charged: int = 0
    is_plain: bool = False
    deliveries: list[Delivery] = field(default_factory=list)

    def state_at(self, clock_s: float) -> JobState:
        """Return the job's state at a moment of the store's clock."""
        if clock_s >= self.ends_s:
            has_failed = self.order.markers.fails and clock_s < self.revives_s
            return JobState.FAILED if has_failed else JobState.COMPLETED
        is_pending = clock_s < self.started_s + self.order.pending_s
        return JobState.PENDING if is_pending else JobState.PROCESSING

    def time_of(self, clock_s: float) -> datetime:
        """Return the time of day at a moment of the store's clock."""
        return self.created_at + timedelta(seconds=clock_s - self.started_s)

    def ended_at(self, state: JobState) -> datetime:
        """Return when a finished job ended."""
        return self.time_of(self.settles_s if state is JobState.COMPLETED else self.ends_s)

    @property
    def charged(self) -> Money:
        """Return what the job has been charged so far, in total."""
        cost = self.order.cost
        return Money.from_micro(cost.micro * self.times_charged, cost.unit)

    @property
    def settles_s(self) -> float:
        """When the job is charged, on the store's clock; infinite if never."""
        return self.revives_s if self.order.markers.fails else self.ends_s


@dataclass(frozen=True, slots=True)
class Ending:
    """A job reached one of its ends."""

    job: Job
    state: JobState


@dataclass(frozen=True, slots=True)
class Account:
    """A provider account at one moment: `balance` is what has not been charged, reserved or not."""

    balance: Money
    reserved: Money
    spent: Money
    spent_today: Money

    @property
    def available(self) -> Money:
        """What a new job may cost: the balance less what open jobs hold."""
        return self.balance - self.reserved


class JobStore:
    """An account with its jobs; safe to use from several threads.

    `clock` counts seconds and never goes back; `now` returns the aware UTC time of day; `new_id`
    returns a task id in the provider's form.
    """

    def __init__(
        self,
        funds: Money,
        *,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        new_id: Callable[[], str],
    ) -> None:
        self.funds = funds
        self._lock = threading.Lock()
        self._clock = clock
        self._now = now
        self._new_id = new_id
        self._reserved = Money.zero(funds.unit)
        self._spent = Money.zero(funds.unit)
        self._spent_on: dict[date, Money] = {}
        self._jobs: dict[str, Job] = {}
        self._keys: dict[str, Job] = {}
        # Open jobs by when they end, so that a create need not look at every past job.
        self._open: list[tuple[float, int, Job]] = []
        self._pushed = 0
        self._endings: deque[Ending] = deque()

    def submit(self, order: Order) -> tuple[Job, bool]:
        """Take an order, or find the job that its key started; return it, and whether it was found.

        Raises KeyReusedError for a known key with another action or content, and
        AccountEmptyError if the account cannot pay; then nothing is kept.
        """
        with self._lock:
            known = self._keys.get(order.key) if order.key else None
            if known is not None:
                return _same(known, order), True
            account = self._account()
            if account.available < order.reserved:
                raise AccountEmptyError(needed=order.reserved, available=account.available)
            return self._keep(order), False

    def knows(self, key: str | None) -> bool:
        """Whether an idempotency key has started a job."""
        with self._lock:
            return key is not None and key in self._keys

    def find(self, job_id: str) -> Job | None:
        """Return a job by its id, or None."""
        with self._lock:
            return self._jobs.get(job_id)

    def state(self, job: Job) -> JobState:
        """Return a job's state now."""
        return job.state_at(self._clock())

    def age_s(self, job: Job) -> float:
        """Return how many seconds ago a job settled; negative if it has not yet."""
        return self._clock() - job.settles_s

    def count_poll(self, job: Job) -> int:
        """Count one more poll of a job, and return the total."""
        with self._lock:
            job.polls += 1
            return job.polls

    def count_download(self, job: Job) -> int:
        """Count one more download of a job's clip, and return the total."""
        with self._lock:
            job.downloads += 1
            return job.downloads

    def jobs(self) -> tuple[Job, ...]:
        """Return every job in the order taken, with what it was charged."""
        with self._lock:
            self._settle(self._clock())
            return tuple(self._jobs.values())

    def account(self) -> Account:
        """Return the account's current state."""
        with self._lock:
            return self._account()

    def finish(self) -> int:
        """End every open job, cancel all misbehaviour, and return how many ended."""
        with self._lock:
            now_s = self._clock()
            self._settle(now_s)
            open_jobs = [job for _, _, job in self._open]
            for job in open_jobs:
                job.ends_s = min(job.ends_s, now_s)
                job.revives_s = now_s if math.isfinite(job.revives_s) else job.revives_s
            for job in self._jobs.values():
                job.is_plain = True
            self._open = [(now_s, number, job) for number, job in enumerate(open_jobs)]
            self._settle(now_s)
            return len(open_jobs)

    def next_ending(self) -> Ending | None:
        """Return the next end that has not been taken yet, or None if there is none now."""
        with self._lock:
            self._settle(self._clock())
            return self._endings.popleft() if self._endings else None

    @property
    def is_idle(self) -> bool:
        """Whether no job will end, and no end is left to take."""
        with self._lock:
            return not self._open and not self._endings

    def _keep(self, order: Order) -> Job:
        started_s = self._clock()
        ends_s = started_s + order.takes_s
        job = Job(self._new_id(), order, started_s, self._now(), ends_s, ends_s + order.revives_s)
        self._jobs[job.id] = job
        if order.key:
            self._keys[order.key] = job
        self._reserved += order.reserved
        self._push(ends_s, job)
        return job

    def _push(self, due_s: float, job: Job) -> None:
        self._pushed += 1
        heapq.heappush(self._open, (due_s, self._pushed, job))

    def _account(self) -> Account:
        self._settle(self._clock())
        today = self._spent_on.get(self._now().date(), Money.zero(self.funds.unit))
        return Account(self.funds - self._spent, self._reserved, self._spent, today)

    def _settle(self, clock_s: float) -> None:
        """Release what ended jobs held, and charge those that completed."""
        while self._open and self._open[0][0] <= clock_s:
            due_s, _, job = heapq.heappop(self._open)
            self._end(job, due_s)

    def _end(self, job: Job, due_s: float) -> None:
        if due_s <= job.ends_s:
            self._reserved -= job.order.reserved
        state = job.state_at(due_s)
        if job.order.callback_url is not None:
            self._endings.append(Ending(job, state))
        if state is JobState.COMPLETED:
            self._charge(job)
        elif math.isfinite(job.revives_s):
            self._push(job.revives_s, job)

    def _charge(self, job: Job) -> None:
        day = job.time_of(job.settles_s).date()
        before = self._spent_on.get(day, Money.zero(self.funds.unit))
        self._spent_on[day] = before + job.order.total
        self._spent += job.order.total
        job.times_charged += job.order.markers.charges


def _same(known: Job, order: Order) -> Job:
    before = (known.order.action, known.order.fingerprint)
    if before != (order.action, order.fingerprint):
        raise KeyReusedError(known.id)
    return known
