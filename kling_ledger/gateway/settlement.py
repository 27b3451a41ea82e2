"""Settlement: jobs are settled even if no client polls them, also after a restart.

One thread decides which job is polled when, and a few others poll. Memory holds little more than
the ids of running jobs; their state is read from the ledger each time, so jobs settled by others
are not polled. Jobs that are not followed, such as those of a killed gateway or those in doubt, are
found in the ledger from time to time, page by page.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from threading import Event, Thread
from typing import Final

from kling_ledger.config import SENDING_S
from kling_ledger.errors import ConfigError, DatabaseError, OtherAddressError
from kling_ledger.gateway.resting import REST_EVERY_S, rest_runs
from kling_ledger.gateway.sweep import Sweep, place_of
from kling_ledger.jobs.follow import POLLS_PER_S, Follower
from kling_ledger.jobs.meter import Meter
from kling_ledger.jobs.places import Place
from kling_ledger.jobs.recovery import MeterFor, Recovered, Recovery
from kling_ledger.jobs.watch import Patience
from kling_ledger.ledger import Ledger, Reservation, State
from kling_ledger.ledger.unwritten import take_down
from kling_ledger.providers.registry import FACTS
from kling_pricing.errors import KlingError

log: Final = logging.getLogger("kling_ledger.gateway")

SWEEP_EVERY_S: Final = 300.0
"""How often the ledger is searched for open jobs that are not followed."""

LONGEST_PAUSE_S: Final = 60.0
"""The longest pause for a provider that does not answer."""

LATE_EVERY_S: Final = 600.0
"""How often a job in doubt is polled: it may end late."""

MOST_FOLLOWED: Final = 50_000
"""How many jobs are followed at once; others are polled at each search of the ledger."""

_WORKERS: Final = 16
_WORKERS_EACH: Final = 4
_HEAR_EVERY_S: Final = 0.2
_AWAY_PAUSE_S: Final = 2.0
_CLOSE_S: Final = 5.0
_BUSY_TIMES: Final = 2
_ITSELF: Final = "settlement"

_Then = Callable[[], None]
"""What the deciding thread does after a call."""


@dataclass(slots=True, eq=False)
class _Job:
    """A followed job; `meter` is its caller's, None if the gateway's own key is used.

    `sweep` is the search that found it, until its first poll; `failures` counts failed polls.
    """

    id: str
    place: Place
    meter: Meter | None = None
    sweep: Sweep | None = None
    failures: int = 0


class Settlement:
    """Follows jobs until they end, from `start` to `close`. Its methods return at once.

    `meter_for` returns the meter of the gateway's own key; it raises OtherAddressError for a job at
    another address, and another ConfigError without a key. Each provider gets at most
    `polls_per_s`, each job is polled every `poll_every_s`; a job without an outcome after
    `longest_s` is in doubt. `grace_s` is how long a submission is left to its sender.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        meter_for: MeterFor,
        poll_every_s: float = 2.0,
        longest_s: float = 900.0,
        polls_per_s: float = POLLS_PER_S,
        grace_s: float = SENDING_S,
        sweep_every_s: float = SWEEP_EVERY_S,
        late_every_s: float = LATE_EVERY_S,
    ) -> None:
        self._ledger = ledger
        self._own_meter_for = meter_for
        self._patience = Patience(poll_every_s=poll_every_s, longest_s=longest_s)
        self._polls_per_s = polls_per_s
        self._grace_s = grace_s
        self._sweep_every_s = sweep_every_s
        self._late_every_s = late_every_s
        self._stop = Event()
        self._inbox: deque[_Then] = deque()
        self._followed: dict[str, _Job] = {}
        self._at: Counter[str] = Counter()
        self._callers: dict[Place, tuple[Meter, int]] = {}
        self._waiting: dict[Place, int] = {}
        self._follower = self._new_follower()
        self._thread = Thread(target=self._run, name="settlement", daemon=True)
        self._problems: dict[str, str] = {}

    @property
    def is_alive(self) -> bool:
        """Whether jobs are followed."""
        return self._thread.is_alive()

    @property
    def problem(self) -> str | None:
        """Why jobs cannot be settled now, None while the ledger can be read and written."""
        return "; ".join(sorted(set(self._problems.copy().values()))) or None

    @property
    def followed(self) -> int:
        """How many jobs are followed."""
        return len(self._followed)

    def start(self) -> None:
        """Start following jobs, beginning with those open in the ledger."""
        self._thread.start()

    def close(self) -> None:
        """Stop following; jobs are unchanged. Returns within a few seconds."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(_CLOSE_S)

    def expect(self, reservation: Reservation, meter: Meter) -> None:
        """Follow a job that was just submitted; its caller's meter is kept until it has ended."""
        self._inbox.append(partial(self._take, _Job(reservation.id, place_of(reservation), meter)))

    def forget(self, reservation_id: str) -> None:
        """Stop following a job that was settled elsewhere."""
        self._inbox.append(partial(self._drop, reservation_id))

    def known(self, meter: Meter) -> None:
        """Continue the jobs that wait for this key, which its provider has accepted."""
        if self._waiting and (place := meter.place) in self._waiting:
            self._inbox.append(partial(self._go_on, place, meter))

    def waiting_for_key(self) -> Mapping[Place, int]:
        """Return how many open jobs cannot be polled because no caller sent their key recently."""
        return dict(self._waiting)

    def meter_for(self, found: Reservation) -> Meter:
        """Return the meter of a job: of a caller with running jobs, or of the gateway's own key.

        Raises ConfigError if there is neither, or the job is at another address.
        """
        caller = self._callers.get(place_of(found))
        return caller[0] if caller is not None else self._own_meter_for(found)

    # --- the thread that decides ------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._follow()
            except Exception as error:
                self._problems[_ITSELF] = _said(error)
                log.exception("the settlement restarts")
                self._stop.wait(_AWAY_PAUSE_S)

    def _follow(self) -> None:
        self._follower = self._new_follower()
        with self._follower as follower:
            for job in self._followed.values():
                job.sweep = None
                self._ask(job, in_s=self._patience.poll_every_s)
            for provider in FACTS:
                self._begin(Sweep(self._ledger, provider))
            follower.put(self._beat)
            follower.put(self._rested)
            for then in follower:
                then()

    def _new_follower(self) -> Follower[_Then]:
        return Follower(
            name="settlement",
            at_once=_WORKERS,
            each=_WORKERS_EACH,
            polls_per_s=self._polls_per_s,
            stop=self._stop,
        )

    def _beat(self) -> _Then:
        return self._hear

    def _rested(self) -> _Then:
        rest_runs(self._ledger)
        return partial(self._follower.put, self._rested, in_s=REST_EVERY_S)

    def _hear(self) -> None:
        """Process the requests of other threads."""
        while self._inbox:
            self._inbox.popleft()()
        self._problems.pop(_ITSELF, None)
        self._follower.put(self._beat, in_s=_HEAR_EVERY_S)

    def _take(self, job: _Job) -> None:
        self._drop(job.id)
        self._add(job)
        self._ask(job, in_s=self._patience.poll_every_s)
        if job.meter is not None and job.place in self._waiting:
            self._go_on(job.place, job.meter)

    def _add(self, job: _Job) -> None:
        self._followed[job.id] = job
        self._at[job.place.provider] += 1
        if job.meter is not None:
            _, count = self._callers.get(job.place, (job.meter, 0))
            self._callers[job.place] = (job.meter, count + 1)

    def _drop(self, reservation_id: str) -> None:
        job = self._followed.pop(reservation_id, None)
        if job is None:
            return
        self._at[job.place.provider] -= 1
        if job.meter is not None:
            meter, count = self._callers[job.place]
            if count == 1:
                # The last job of this key has ended: forget the key.
                del self._callers[job.place]
            else:
                self._callers[job.place] = (meter, count - 1)

    def _ask(self, job: _Job, *, in_s: float) -> None:
        self._follower.put(partial(self._looked, job), in_s=in_s, asks=job.place.provider)

    def _told(self, job: _Job, told: Recovered) -> None:
        """Decide when a job is polled again, if at all."""
        in_s = self._next_s(job, told)
        if in_s is None or len(self._followed) > MOST_FOLLOWED:
            self._end(job)
            return
        self._swept(job)
        self._ask(job, in_s=in_s)

    def _next_s(self, job: _Job, told: Recovered) -> float | None:
        seen = told.reservation
        if not seen.is_open:
            return None
        job.failures = 0 if told.error is None else job.failures + 1
        if seen.state is State.IN_DOUBT:
            return self._doubtful_s(job, told)
        if seen.state is not State.SUBMITTED:
            return max(self._grace_s, self._patience.poll_every_s)
        if told.error is not None:
            return max(told.again_in_s or 0.0, self._backed_off_s(job, LONGEST_PAUSE_S))
        if told.again_in_s is None:
            return self._late_every_s
        # With thousands of jobs each is polled less often, so that new jobs do not queue behind
        # them.
        fair_s = self._at[seen.job.provider or ""] / self._polls_per_s
        return max(told.again_in_s, fair_s)

    def _doubtful_s(self, job: _Job, told: Recovered) -> float | None:
        """Return when to poll a job in doubt again; None if the searches of the ledger do that."""
        if told.reservation.task_id is not None:
            return None if job.meter is None else self._late_every_s
        return None if told.error is None else self._backed_off_s(job, self._late_every_s)

    def _backed_off_s(self, job: _Job, most_s: float) -> float:
        return float(min(self._patience.poll_every_s * 2 ** min(job.failures, 16), most_s))

    def _end(self, job: _Job) -> None:
        self._swept(job)
        if self._followed.get(job.id) is job:
            self._drop(job.id)

    def _swept(self, job: _Job) -> None:
        """Continue the search that found a job, once its whole page has been polled."""
        sweep, job.sweep = job.sweep, None
        if sweep is not None:
            sweep.left -= 1
            if sweep.left == 0:
                self._begin(sweep)

    def _waits(self, job: _Job) -> None:
        self._waiting[job.place] = self._waiting.get(job.place, 0) + 1
        self._end(job)

    def _begin(self, sweep: Sweep, *, in_s: float = 0.0) -> None:
        self._follower.put(partial(self._page, sweep), in_s=in_s)

    def _go_on(self, place: Place, meter: Meter) -> None:
        if self._waiting.pop(place, None) is not None:
            self._begin(Sweep(self._ledger, place.provider, place=place, meter=meter))

    def _paged(self, sweep: Sweep, found: list[_Job], *, is_last: bool) -> None:
        for place, count in sweep.waiting.items():
            self._waiting[place] = max(count, self._waiting.get(place, 0))
        fresh = [job for job in found if job.id not in self._followed]
        sweep.left = len(fresh)
        for job in fresh:
            self._add(job)
            self._ask(job, in_s=0.0)
        if is_last:
            self._searched(sweep)
        elif not fresh:
            self._begin(sweep)

    def _searched(self, sweep: Sweep) -> None:
        """Search again later: the longer a search takes, the longer the wait, to limit its load."""
        if sweep.place is not None:
            return
        for place in [one for one in self._waiting if one.provider == sweep.provider]:
            if place not in sweep.waiting:
                del self._waiting[place]
            else:
                self._waiting[place] = sweep.waiting[place]
        in_s = max(self._sweep_every_s, _BUSY_TIMES * sweep.took_s)
        self._begin(sweep.anew(), in_s=in_s)

    # --- the threads that ask ---------------------------------------------------------------

    def _looked(self, job: _Job) -> _Then:
        """Poll a job; after any error it is polled again."""
        if self._followed.get(job.id) is not job:
            return partial(self._swept, job)
        try:
            then = self._look(job)
        except DatabaseError as error:
            self._problems[job.place.provider] = _said(error)
            return partial(self._ask, job, in_s=_AWAY_PAUSE_S)
        except Exception as error:
            if not self._stop.is_set():
                log.exception("job %s could not be checked", job.id)
            self._problems[job.place.provider] = _said(error)
            return partial(self._ask, job, in_s=LONGEST_PAUSE_S)
        self._problems.pop(job.place.provider, None)
        return then

    def _look(self, job: _Job) -> _Then:
        found = self._ledger.reservations.get(job.id)
        if not found.is_open:
            return partial(self._end, job)
        try:
            meter = self._checked(found, job.meter)
        except OtherAddressError:
            return partial(self._end, job)
        except ConfigError:
            return partial(self._waits, job)
        timed = replace(meter, patience=self._patience, stop=self._stop)
        now = self._ledger.now()
        recovery = Recovery(self._ledger, lambda _: timed, now, self._grace_s)
        return partial(self._told, job, recovery.look_at(found))

    def _checked(self, found: Reservation, known: Meter | None) -> Meter:
        """Return a meter with the key of the job's account. Raises ConfigError if there is none."""
        meter = known or self.meter_for(found)
        meter.place.check(found)
        return meter

    def _page(self, sweep: Sweep) -> _Then:
        """Read some open jobs; those that cannot be polled now are counted and skipped."""
        try:
            if sweep.is_new:
                take_down(self._ledger)
            found = sweep.page()
            wanted = [job for one in found if (job := self._wanted(sweep, one)) is not None]
        except Exception as error:
            if not isinstance(error, DatabaseError):
                log.exception("open jobs at %s could not be read", sweep.provider)
            self._problems[sweep.provider] = _said(error)
            return partial(self._begin, sweep.anew(), in_s=_AWAY_PAUSE_S)
        self._problems.pop(sweep.provider, None)
        return partial(self._paged, sweep, wanted, is_last=not found)

    def _wanted(self, sweep: Sweep, one: Reservation) -> _Job | None:
        """Return the job of an open reservation, None if nothing can be done about it now."""
        place = place_of(one)
        try:
            meter = self._checked(one, sweep.meter)
        except OtherAddressError:
            return None
        except ConfigError:
            sweep.waiting[place] += 1
            return None
        is_lost = one.state is State.IN_DOUBT and one.task_id is None
        # Only a person can settle it if a repeat could be charged too.
        return None if is_lost and not meter.provider.repeats_safely else _job(one, sweep)


def _job(one: Reservation, sweep: Sweep) -> _Job:
    return _Job(one.id, place_of(one), sweep.meter, sweep)


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, KlingError) else f"{type(error).__name__}: {error}"
