"""Recovery: finishes what a crash, a time-out or a lost reply left open.

Jobs that were never sent are rolled back. A submission without an answer is repeated if the
provider recognises its key; otherwise it stays in doubt and a person must check. Accepted jobs are
polled. Jobs that a script submits itself are left to it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from threading import Lock
from typing import Final

from kling_ledger.config import SENDING_S
from kling_ledger.errors import DatabaseError, ProviderError, StateError
from kling_ledger.jobs.follow import Follower
from kling_ledger.jobs.meter import Meter
from kling_ledger.jobs.watch import Patience, Watch
from kling_ledger.ledger import Ledger, Reservation, State
from kling_ledger.providers.base import Provider, TaskState, TaskStatus
from kling_pricing.errors import KlingError

KEY_LIVES_S: Final = 86_400.0
"""How long a provider is assumed to recognise a key: none documents it, so at most a day."""

AT_ONCE: Final = 8
"""How many jobs are polled at the same time."""

DATABASE_S: Final = 300.0
"""How long to wait for a database that is away, in seconds."""

_AWAY_PAUSE_S: Final = 2.0

MeterFor = Callable[[Reservation], Meter]
"""Returns the meter of the provider that runs, or ran, a reservation's job."""


class NextStep(StrEnum):
    """What a person must do about a job that nothing else can finish."""

    LOOK_FOR_TASK = "look_for_task"
    """Check whether the provider has the task: it is unknown whether it accepted the job."""

    ASK_ABOUT_TASK = "ask_about_task"
    """Check how the task ended: the provider accepted the job, but its answers are unclear."""

    END_IT = "end_it"
    """Record its cost, or that nothing was charged: only its own script may know."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """The result for an open reservation, and what a person must do if nothing else can.

    `error` is why it could not be polled now; `is_running` says that the provider is working on it.
    `again_in_s` is when to poll again, None if polling is over.
    """

    reservation: Reservation
    did: str
    next_step: NextStep | None = None
    error: KlingError | None = None
    is_running: bool = False
    again_in_s: float | None = None

    @property
    def problem(self) -> str | None:
        """Why it could not be polled, and a hint."""
        if self.error is None:
            return None
        hint = self.error.hint
        return f"{self.error}: {hint}" if hint else str(self.error)


@dataclass(frozen=True, slots=True)
class _Move:
    """The progress of a reservation; with a `watch` its job must be polled again."""

    recovered: Recovered
    watch: Watch | None = None
    pause_s: float = 0.0
    again: Callable[[], _Move] | None = None


@dataclass(frozen=True, slots=True)
class Recovery:
    """Goes through open reservations. Safe to run while others run, submit or recover jobs.

    `meter_for` returns the meter of a reservation's provider. Jobs changed less than `grace_s` ago
    that another process may be sending are skipped. With `waits`, jobs are followed to their end;
    without, each is polled once. Unless it `sends`, nothing is repeated.
    """

    ledger: Ledger
    meter_for: MeterFor
    now: datetime
    grace_s: float = SENDING_S
    waits: bool = False
    sends: bool = True

    def run(
        self, reservations: Iterable[Reservation] | None = None
    ) -> Generator[Recovered, None, None]:
        """Finish every open reservation, or those given, as far as possible; yield each result.

        All are polled once before any is waited for. Closing the iterator stops the waiting: jobs
        still followed are unchanged.
        """
        found = self.ledger.reservations.open() if reservations is None else reservations
        running = []
        for move in self._made(partial(self._looked_at, one) for one in found):
            if self.waits and move.watch is not None:
                running.append(move)
            else:
                yield move.recovered
        yield from self._followed(running)

    def finish(self, reservation: Reservation) -> Recovered:
        """Bring one reservation as far as possible now; failures are reported."""
        (recovered,) = self.run([reservation])
        return recovered

    def look_at(self, reservation: Reservation) -> Recovered:
        """Bring one reservation as far as possible now, on this thread.

        Raises DatabaseError and internal errors; provider errors are reported.
        """
        return self._safely(reservation, lambda: self._moved_on(reservation)).recovered

    def _made(self, calls: Iterable[Callable[[], _Move]]) -> Iterator[_Move]:
        with Follower[_Move](name="recovery", at_once=AT_ONCE) as follower:
            for call in calls:
                follower.put(call)
            for move in follower:
                if move.again is None:
                    yield move
                else:
                    follower.put(move.again, in_s=move.pause_s)

    def _followed(self, moves: Iterable[_Move]) -> Iterator[Recovered]:
        """Poll running jobs, each when it is due, until all have ended."""
        with Follower[_Move](name="recovery") as follower:
            for move in moves:
                self._follow_up(follower, move)
            for move in follower:
                if move.watch is None:
                    yield move.recovered
                else:
                    self._follow_up(follower, move)

    def _follow_up(self, follower: Follower[_Move], move: _Move) -> None:
        if move.watch is not None:
            ask = partial(self._asked_again, move.watch)
            follower.put(ask, in_s=move.pause_s, asks=move.watch.provider)

    def _looked_at(self, reservation: Reservation, give_up_at: float | None = None) -> _Move:
        """Check a job; retry for as long as the database may be unreachable."""
        until = give_up_at or time.monotonic() + DATABASE_S
        try:
            return self._safely(reservation, lambda: self._moved_on(reservation))
        except DatabaseError as error:
            left = Recovered(reservation, "unchanged", error=error)
            if not error.may_pass or time.monotonic() >= until:
                return _Move(left)
            again = partial(self._looked_at, reservation, until)
            return _Move(left, pause_s=_AWAY_PAUSE_S, again=again)

    def _asked_again(self, watch: Watch) -> _Move:
        try:
            return self._safely(watch.reservation, lambda: _followed_on(watch))
        except DatabaseError as error:
            return _Move(Recovered(watch.reservation, "unchanged", error=error))

    def _safely(self, reservation: Reservation, move: Callable[[], _Move]) -> _Move:
        """Make a move; a failure is reported and does not stop the other jobs."""
        try:
            return move()
        except DatabaseError:
            raise
        except StateError:
            now = self.ledger.reservations.get(reservation.id)
            return _Move(Recovered(now, "another process updated it"))
        except KlingError as error:
            now = self.ledger.reservations.get(reservation.id)
            return _Move(Recovered(now, "unchanged", error=error))

    def _moved_on(self, found: Reservation) -> _Move:
        if not found.is_open:
            return _Move(Recovered(found, "already ended"))
        if not found.job.can_resume:
            return _Move(Recovered(found, "unchanged", NextStep.END_IT))
        if found.task_id is not None:
            return self._asked_for(found)
        if found.state is not State.IN_DOUBT and self._is_young(found):
            return _Move(Recovered(found, "unchanged: it may still be in progress"))
        if found.state is State.RESERVED:
            problem = "it was never sent"
            ended = self.ledger.roll_back(found.id, problem, only_from=State.RESERVED)
            return _Move(Recovered(ended, f"rolled back: {problem}"))
        return self._submitted_again(found)

    def _submitted_again(self, found: Reservation) -> _Move:
        """Repeat an unanswered submission if that is safe; otherwise put it in doubt."""
        meter = self.meter_for(found)
        meter.place.check(found)
        unsafe = self._why_not_again(found, meter)
        if unsafe is not None:
            return _Move(self._doubted(found, f"its submission got no answer, and {unsafe}"))
        if not self.sends:
            return _Move(Recovered(found, "would be sent again"))
        try:
            meter.submit(found, json.loads(found.job.request or "{}"))
        except StateError:
            raise
        except KlingError as error:
            now = self.ledger.reservations.get(found.id)
            is_unknown = now.is_open and now.task_id is None
            step = NextStep.LOOK_FOR_TASK if is_unknown else None
            return _Move(Recovered(now, "sent again, and still not confirmed", step, error))
        return self._asked_for(self.ledger.reservations.get(found.id))

    def _doubted(self, found: Reservation, problem: str) -> Recovered:
        doubtful = found
        if found.state is not State.IN_DOUBT:
            # The sender may only be late: then its own record stands.
            doubtful = self.ledger.mark_in_doubt(found.id, problem, only_from=State.SUBMITTING)
        return Recovered(doubtful, "in doubt", NextStep.LOOK_FOR_TASK)

    def _why_not_again(self, found: Reservation, meter: Meter) -> str | None:
        """Say why sending a submission again could charge it twice; None if it could not."""
        if not meter.provider.repeats_safely:
            return f"{meter.provider.name} does not recognise repeated requests"
        age = self.now - found.created_at
        if age > timedelta(seconds=KEY_LIVES_S):
            return f"{meter.provider.name} may have forgotten its key after {_age(age)}"
        return None

    def _asked_for(self, found: Reservation) -> _Move:
        """Poll a job once; an overdue job without an outcome is put in doubt."""
        meter = self.meter_for(found)
        watch = Watch(_Overdue(meter) if self._is_doubted(found, meter) else meter, found)
        pause_s = watch.ask()
        seen = watch.reservation
        if self._is_overdue(seen, meter):
            age = _age(self.now - seen.created_at)
            seen = meter.give_up(seen, f"no verdict after {age}: {_how_it_stands(watch)}")
        return _move_of(watch, seen, pause_s, "polled")

    def _is_young(self, found: Reservation) -> bool:
        return self.now - found.updated_at < timedelta(seconds=self.grace_s)

    def _is_overdue(self, found: Reservation, meter: Meter) -> bool:
        return found.state is State.SUBMITTED and self._has_outlived(found, meter)

    def _is_doubted(self, found: Reservation, meter: Meter) -> bool:
        return found.state is State.IN_DOUBT and self._has_outlived(found, meter)

    def _has_outlived(self, found: Reservation, meter: Meter) -> bool:
        return self.now - found.created_at > timedelta(seconds=meter.patience.longest_s)


@dataclass(frozen=True, slots=True)
class _Overdue:
    """A meter for a job in doubt past its longest life: only its end changes it.

    That it still runs is no news: otherwise each poll would take it out of doubt and back.
    """

    meter: Meter

    @property
    def provider(self) -> Provider:
        return self.meter.provider

    @property
    def patience(self) -> Patience:
        return self.meter.patience

    def poll(self, reservation: Reservation, *, is_patient: bool = True) -> TaskStatus:
        return self.meter.poll(reservation, is_patient=is_patient)

    def observe(self, reservation: Reservation, status: TaskStatus) -> Reservation:
        is_running = status.state is TaskState.RUNNING
        return reservation if is_running else self.meter.observe(reservation, status)

    def give_up(self, reservation: Reservation, problem: str) -> Reservation:
        return self.meter.give_up(reservation, problem)

    def tell_trouble(self, error: ProviderError) -> None:
        self.meter.tell_trouble(error)


def _how_it_stands(watch: Watch) -> str:
    if watch.unclear is not None:
        return watch.unclear
    if watch.error is not None:
        return "it got no answer"
    problem = watch.reservation.problem
    return (
        problem if watch.reservation.state is State.IN_DOUBT and problem else "it is still running"
    )


def _followed_on(watch: Watch) -> _Move:
    """Poll a followed job once more."""
    pause_s = watch.ask()
    return _move_of(watch, watch.reservation, pause_s, "followed")


def _move_of(watch: Watch, seen: Reservation, pause_s: float | None, what: str) -> _Move:
    """Return the result of a poll: an end, a job to poll again, or one for a person."""
    if not seen.is_open:
        return _Move(Recovered(seen, f"ended: {seen.state}"))
    did = f"{what}: {_how_it_stands(watch)}"
    if pause_s is None:
        return _Move(Recovered(seen, did, NextStep.ASK_ABOUT_TASK, watch.error))
    if watch.unclear is not None:
        step = NextStep.ASK_ABOUT_TASK if seen.state is State.IN_DOUBT else None
        told = Recovered(seen, did, step, watch.error, again_in_s=pause_s)
    else:
        told = Recovered(seen, did, error=watch.error, is_running=True, again_in_s=pause_s)
    return _Move(told, watch, pause_s)


def _age(since: timedelta) -> str:
    hours, seconds = divmod(int(since.total_seconds()), 3600)
    return f"{hours} h" if hours else f"{seconds // 60} min"


class Meters:
    """The meters of many reservations: one for each provider's address, connected when needed."""

    def __init__(self, connect: Callable[[str, str | None], Meter]) -> None:
        self._connect = connect
        self._known: dict[tuple[str | None, str | None], Meter] = {}
        self._lock = Lock()

    def __call__(self, found: Reservation) -> Meter:
        """Return the meter of the provider that runs a reservation's job."""
        place = (found.job.provider, found.job.address)
        with self._lock:
            if place not in self._known:
                self._known[place] = self._connect(found.job.provider or "", found.job.address)
            return self._known[place]

    def close(self) -> None:
        """Close the connections to every provider."""
        for meter in self._known.values():
            meter.provider.close()
        self._known.clear()


__all__ = [
    "KEY_LIVES_S",
    "MeterFor",
    "Meters",
    "NextStep",
    "Recovered",
    "Recovery",
]
