"""Batch: many jobs at once, within a limit, each run by the meter and none of them twice.

The caller's thread decides what is next, and one follower makes the calls. A job in flight is being
begun or polled; one that waits for another attempt is not in flight.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from threading import Event
from typing import Final

from kling_ledger.config import SENDING_S
from kling_ledger.errors import (
    DatabaseError,
    JobRefusedError,
    ProviderError,
    StateError,
    TaskNotWrittenError,
)
from kling_ledger.jobs.allowance import Allowance
from kling_ledger.jobs.batch_jobs import Attempt, Outcome
from kling_ledger.jobs.breaker import PROBE_EVERY_S, UNCLEAR_IN_A_ROW, Breaker, Pause
from kling_ledger.jobs.follow import CALLS_AT_ONCE, POLLS_PER_S, Follower
from kling_ledger.jobs.gate import Gate, Held, Probed
from kling_ledger.jobs.meter import Meter
from kling_ledger.jobs.watch import Watch
from kling_ledger.ledger import Reservation, State
from kling_ledger.ledger.unwritten import keep_task
from kling_ledger.providers.attempts import LONGEST_WISH_S
from kling_pricing.errors import KlingError
from kling_pricing.money import Money

_ATTEMPTS: Final = 5
"""How often a job is tried in one run if its provider refuses it only for now."""

_PAUSE_S: Final = 2.0

_LOOK_AGAIN_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class _Step:
    """The progress of an attempt, its next step, and in how many seconds to take it.

    With a `watch` the job is polled then; otherwise `again` joins the queue then. Without a pause
    the attempt is over.
    """

    outcome: Outcome
    pause_s: float | None = None
    watch: Watch | None = None
    again: Attempt | None = None


class Batch:
    """Jobs that run at once. `on_change` is called for each changed outcome, in one thread.

    `meters` has the meter of each provider. At most `concurrency` jobs are in flight. A job that a
    provider refuses only for now is retried a few times. A job that another process may be sending
    is left to it for `grace_s`. All jobs together may cost `max_total`: a job whose live estimate
    exceeds that is refused.

    `on_pause` is called once, in any thread, with the reason why nothing more is started at a
    provider, and with None when it resumes. Meanwhile the provider is asked every `probe_s` seconds
    whether it answers.
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
        on_pause: Callable[[str, Pause | None], None] = lambda *_: None,
        probe_s: float = PROBE_EVERY_S,
    ) -> None:
        self._gates = {
            name: Gate(meter, _breaker(meter, concurrency, probe_s, partial(on_pause, name)))
            for name, meter in meters.items()
        }
        self._meters = {
            name: replace(meter, on_trouble=partial(self._trouble, name, meter.on_trouble))
            for name, meter in meters.items()
        }
        self._waiting = deque(attempts)
        self._first = {attempt.job.place: attempt.number for attempt in attempts}
        self._concurrency = concurrency
        self._grace = timedelta(seconds=grace_s)
        self._allowance = Allowance(max_total)
        self._on_change = on_change
        self._away_since: dict[int, float] = {}
        self._unwritten: dict[int, TaskNotWrittenError] = {}
        self._in_flight = 0
        self._stop = Event()
        self._follower: Follower[_Step | Attempt | Held | Probed | None] = Follower(
            name="batch",
            at_once=min(CALLS_AT_ONCE, concurrency),
            polls_per_s=polls_per_s,
            stop=self._stop,
        )
        self.outcomes: dict[int, Outcome] = {}

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do."""
        is_holding = any(gate.held for gate in self._gates.values())
        return not (self._waiting or is_holding) and self._follower.is_over

    @property
    def not_started(self) -> list[Attempt]:
        """Attempts not begun, because their provider refuses all jobs or does not answer."""
        return [one for gate in self._gates.values() for one in gate.not_started]

    def run(self) -> dict[int, Outcome]:
        """Run every job to its end; return the outcomes by place.

        After any interruption call `stop`: jobs that were sent stay open.
        """
        self._start_jobs()
        for told in self._follower:
            self._decide(told)
            self._start_jobs()
        self._follower.close(within_s=None)
        return self.outcomes

    def stop(self) -> None:
        """Make no further calls, and wait for those under way: a task id must not be lost."""
        self._stop.set()
        self._follower.close(within_s=None)

    # --- what is next, in the caller's thread -----------------------------------------------

    def _start_jobs(self) -> None:
        while self._waiting and self._in_flight < self._concurrency:
            self._in_flight += 1
            self._follower.put(partial(self._begin, self._waiting.popleft()))

    def _decide(self, told: _Step | Attempt | Held | Probed | None) -> None:
        """Decide what follows from a call that has returned."""
        if isinstance(told, Attempt):
            self._waiting.append(told)
        elif isinstance(told, Held):
            self._in_flight -= 1
            self._gates[told.attempt.job.provider].hold(told.attempt)
        elif isinstance(told, _Step):
            self._gates[told.outcome.job.provider].came_back(told.outcome.job.place)
            if told.outcome.reservation is not None or not told.outcome.is_running:
                # Without a reservation to read it may still hold credits: it keeps its share.
                self._allowance.settle(told.outcome)
            self._follow_up(told)
            self._tell(told.outcome)
        self._open_gates()

    def _open_gates(self) -> None:
        """Release attempts that may begin, and probe providers that gave no clear answers."""
        for gate in self._gates.values():
            self._waiting.extendleft(reversed(gate.released()))
            if gate.is_to_ask(are_others_in_flight=self._in_flight > 0):
                self._follower.put(gate.ask, in_s=gate.breaker.pause_s)

    def _follow_up(self, step: _Step) -> None:
        if step.watch is not None and step.pause_s is not None:
            self._gates[step.watch.provider].known = step.watch.reservation
            ask = partial(self._ask, step.outcome.attempt, step.watch)
            self._follower.put(ask, in_s=step.pause_s, asks=step.watch.provider)
            return
        self._in_flight -= 1
        if step.again is not None:
            self._follower.put(partial(_its_turn, step.again), in_s=step.pause_s or 0)

    def _tell(self, outcome: Outcome) -> None:
        place = outcome.job.place
        if self.outcomes.get(place) != outcome:
            self.outcomes[place] = outcome
            self._on_change(outcome)

    # --- calls, in the threads of the follower ------------------------------------------------

    def _begin(self, attempt: Attempt) -> _Step | Held | None:
        """Reserve and submit an attempt; None if the batch was stopped before."""
        if self._stop.is_set():
            return None
        try:
            self._write_task(attempt)
            begun = self._begun(attempt)
        except DatabaseError as error:
            return self._database_away(attempt, error)
        self._away_since.pop(attempt.job.place, None)
        return begun

    def _write_task(self, attempt: Attempt) -> None:
        """Record a task id that arrived while the database was away."""
        said = self._unwritten.get(attempt.job.place)
        if said is not None:
            ledger = self._meters[attempt.job.provider].ledger
            keep_task(ledger, said.reservation_id, said.task_id)
            del self._unwritten[attempt.job.place]

    def _begun(self, attempt: Attempt) -> _Step | Held:
        job = attempt.job
        meter = replace(self._meters[job.provider], project=job.project, labels=job.labels)
        breaker = self._gates[job.provider].breaker
        found = meter.ledger.reservations.of_keys([attempt.key]).get(attempt.key)
        if not self._would_send(meter, found):
            return self._carried_on(attempt, meter, found)
        if not breaker.enter():
            return Held(attempt)
        try:
            return self._carried_on(attempt, meter, found, hear=breaker.hear)
        finally:
            breaker.leave()

    def _would_send(self, meter: Meter, found: Reservation | None) -> bool:
        """Whether beginning an attempt sends anything; if not, its job is only followed or left."""
        if found is None or found.state is State.RESERVED:
            return True
        is_unknown = found.is_open and found.task_id is None
        repeats = meter.provider.repeats_safely
        return is_unknown and repeats and not self._is_being_sent(meter, found)

    def _carried_on(
        self,
        attempt: Attempt,
        meter: Meter,
        found: Reservation | None,
        *,
        hear: Callable[[KlingError | None], None] = lambda _: None,
    ) -> _Step:
        """Reserve and submit whatever an attempt still needs; `hear` gets the answer."""
        try:
            reservation = self._reserved(attempt, meter, found)
            if self._is_being_sent(meter, reservation):
                return self._look_again(attempt, meter, reservation)
            if reservation.is_open and reservation.task_id is None:
                meter.submit(reservation, attempt.job.request.body)
                hear(None)
            return self._watched(attempt, meter, reservation)
        except DatabaseError:
            raise
        except KlingError as error:
            hear(error)
            return self._not_begun(attempt, meter, error)

    def _database_away(self, attempt: Attempt, error: DatabaseError) -> _Step:
        """Try again while the database may come back: the key finds what was reserved."""
        place, now = attempt.job.place, time.monotonic()
        if isinstance(error, TaskNotWrittenError):
            self._unwritten[place] = error
        away_s = now - self._away_since.setdefault(place, now)
        longest_s = self._meters[attempt.job.provider].patience.database_s
        if not error.may_pass or away_s >= longest_s or self._stop.is_set():
            return _Step(Outcome(attempt, None, error))
        return _Step(Outcome(attempt, None, error, is_running=True), _PAUSE_S, again=attempt)

    def _reserved(self, attempt: Attempt, meter: Meter, found: Reservation | None) -> Reservation:
        """Return an attempt's reservation: a new one, unless another caller is sending it."""
        job = attempt.job
        if found is not None and self._is_being_sent(meter, found):
            return found
        asked = meter.asked(job.request.body, action=job.request.clip.action, key=attempt.key)
        self._allowance.promise(job.place, asked.amount)
        return meter.ledger.reserve_many([meter.approved(asked)])[0]

    def _is_being_sent(self, meter: Meter, found: Reservation) -> bool:
        is_young = meter.clock() - found.updated_at < self._grace
        return found.state is State.SUBMITTING and is_young

    def _look_again(self, attempt: Attempt, _: Meter, reservation: Reservation) -> _Step:
        """Leave a job to the process that is sending it, for a moment."""
        outcome = Outcome(attempt, reservation, is_running=True)
        return _Step(outcome, _LOOK_AGAIN_S, again=attempt)

    def _watched(self, attempt: Attempt, meter: Meter, reservation: Reservation) -> _Step:
        watch = Watch(meter, meter.ledger.reservations.get(reservation.id))
        if not watch.reservation.is_open:
            return _Step(Outcome(attempt, watch.reservation))
        outcome = Outcome(attempt, watch.reservation, is_running=True)
        return _Step(outcome, meter.patience.poll_every_s, watch)

    def _not_begun(self, attempt: Attempt, meter: Meter, error: KlingError) -> _Step:
        """Return the step after an error: another attempt, another look, or the end."""
        found = meter.ledger.reservations.of_keys([attempt.key]).get(attempt.key)
        if isinstance(error, StateError) and found is not None:
            is_sent = not found.is_open or found.task_id is not None
            then = self._watched if is_sent else self._look_again
            return then(attempt, meter, found)
        if isinstance(error, JobRefusedError) and self._may_repeat(attempt, found, error):
            outcome = Outcome(attempt, found, error, is_running=True)
            pause_s = min(error.retry_after_s or _PAUSE_S, LONGEST_WISH_S)
            return _Step(outcome, pause_s, again=attempt.next)
        return _Step(Outcome(attempt, found, error))

    def _may_repeat(
        self, attempt: Attempt, found: Reservation | None, error: JobRefusedError
    ) -> bool:
        has_ended = found is not None and not found.is_open
        tried = attempt.number - self._first[attempt.job.place] + 1
        return error.retryable and has_ended and tried < _ATTEMPTS

    def _ask(self, attempt: Attempt, watch: Watch) -> _Step | None:
        """Poll a job once; None if the batch was stopped before."""
        if self._stop.is_set():
            return None
        failing = watch.failing
        try:
            pause_s = watch.ask()
        except KlingError as failure:
            return _Step(Outcome(attempt, watch.reservation, failure))
        breaker = self._gates[watch.provider].breaker
        if watch.error is None:
            breaker.answered()
        elif watch.failing > failing:
            breaker.unanswered(watch.error.problem)
        if pause_s is None and watch.is_unanswered and watch.error is not None:
            breaker.unanswered(watch.error.problem, at_once=True)
            pause_s = watch.go_on()
        outcome = Outcome(attempt, watch.reservation, is_running=pause_s is not None)
        return _Step(outcome, pause_s, watch)

    def _trouble(
        self, provider: str, tell: Callable[[ProviderError], None], error: ProviderError
    ) -> None:
        """Report trouble, unless it was already reported that the provider does not answer."""
        if not self._gates[provider].breaker.is_shut:
            tell(error)


def _breaker(
    meter: Meter, concurrency: int, probe_s: float, tell: Callable[[Pause | None], None]
) -> Breaker:
    return Breaker(
        meter.provider.name,
        most_unclear=min(UNCLEAR_IN_A_ROW, concurrency),
        probe_s=probe_s,
        longest_s=meter.patience.longest_s,
        tell=tell,
    )


def _its_turn(attempt: Attempt) -> Attempt:
    """Return an attempt whose pause is over: it now waits for a place, like those not begun."""
    return attempt
