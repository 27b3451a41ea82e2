"""JobStore: one provider account in memory and every job that was ever given to it.

Nothing runs in the background: the state of a job follows from how long ago it was created, and
the account is brought up to date whenever somebody looks at it.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any

from kling_pricing.errors import KlingError
from kling_pricing.money import Money


class JobState(StrEnum):
    """Where a job stands; the words are the sandbox's own and each dialect has its spelling."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"


class KeyReusedError(KlingError):
    """An idempotency key was used before with other content."""

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
    """What somebody asked the provider to do, and what the sandbox decided to do with it.

    `reserved` is held while the job runs, `cost` is charged when it completes. `takes_s` is
    infinite for a job that never ends. `fingerprint` is equal for equal content.
    """

    action: str
    body: dict[str, Any]
    fingerprint: str
    reserved: Money
    cost: Money
    pending_s: float
    takes_s: float
    fails: bool = False
    client_request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One order that was taken; `started_s` is on the store's clock, `created_at` is UTC."""

    id: str
    order: Order
    started_s: float
    created_at: datetime

    @property
    def ends_s(self) -> float:
        """When the job ends, on the store's clock; infinite if it never does."""
        return self.started_s + self.order.takes_s

    def state_at(self, clock_s: float) -> JobState:
        """Return the job's state at a moment of the store's clock."""
        if clock_s >= self.ends_s:
            return JobState.FAILED if self.order.fails else JobState.COMPLETED
        is_pending = clock_s < self.started_s + self.order.pending_s
        return JobState.PENDING if is_pending else JobState.PROCESSING


@dataclass(frozen=True, slots=True)
class Account:
    """A provider account at one moment: `balance` is what was not charged, reserved or not."""

    balance: Money
    reserved: Money
    spent: Money
    spent_today: Money

    @property
    def available(self) -> Money:
        """What a new job may cost: the balance without what open jobs hold."""
        return self.balance - self.reserved


class JobStore:
    """An account with its jobs; safe to use from several threads.

    `clock` counts seconds and only forwards; `now` is the aware UTC time for people to read;
    `new_id` returns a provider's kind of task id.
    """

    def __init__(
        self,
        funds: Money,
        *,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        new_id: Callable[[], str],
    ) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        self._now = now
        self._new_id = new_id
        self._funds = funds
        self._reserved = Money.zero(funds.unit)
        self._spent = Money.zero(funds.unit)
        self._spent_on: dict[date, Money] = {}
        self._jobs: dict[str, Job] = {}
        self._keys: dict[str, Job] = {}
        # Open jobs by when they end, so that a create does not look at all that ever were.
        self._open: list[tuple[float, int, Job]] = []

    def submit(self, order: Order, *, key: str | None = None) -> tuple[Job, bool]:
        """Take an order, or find the job that the same key started: the job, and whether found.

        Raises KeyReusedError for a known key with another action or content, and
        AccountEmptyError where the account cannot pay: nothing is kept then.
        """
        with self._lock:
            known = self._keys.get(key) if key else None
            if known is not None:
                return _same(known, order), True
            account = self._account()
            if account.available < order.reserved:
                raise AccountEmptyError(needed=order.reserved, available=account.available)
            job = Job(self._new_id(), order, self._clock(), self._now())
            self._keep(job, key)
            return job, False

    def find(self, job_id: str) -> Job | None:
        """Return a job by its id, or None."""
        with self._lock:
            return self._jobs.get(job_id)

    def state(self, job: Job) -> JobState:
        """Return a job's state now."""
        return job.state_at(self._clock())

    def jobs(self) -> tuple[Job, ...]:
        """Return every job, in the order in which they were taken."""
        with self._lock:
            return tuple(self._jobs.values())

    def account(self) -> Account:
        """Return the account as it stands now."""
        with self._lock:
            return self._account()

    def _keep(self, job: Job, key: str | None) -> None:
        self._jobs[job.id] = job
        if key:
            self._keys[key] = job
        self._reserved += job.order.reserved
        heapq.heappush(self._open, (job.ends_s, len(self._jobs), job))

    def _account(self) -> Account:
        self._settle(self._clock())
        today = self._spent_on.get(self._now().date(), Money.zero(self._funds.unit))
        return Account(self._funds - self._spent, self._reserved, self._spent, today)

    def _settle(self, clock_s: float) -> None:
        """Give back what ended jobs held and charge those that completed."""
        while self._open and self._open[0][0] <= clock_s:
            _, _, job = heapq.heappop(self._open)
            self._reserved -= job.order.reserved
            if not job.order.fails:
                self._charge(job)

    def _charge(self, job: Job) -> None:
        day = (job.created_at + timedelta(seconds=job.order.takes_s)).date()
        before = self._spent_on.get(day, Money.zero(self._funds.unit))
        self._spent_on[day] = before + job.order.cost
        self._spent += job.order.cost


def _same(known: Job, order: Order) -> Job:
    before = (known.order.action, known.order.fingerprint)
    if before != (order.action, order.fingerprint):
        raise KeyReusedError(known.id)
    return known
