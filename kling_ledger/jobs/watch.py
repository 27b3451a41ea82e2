"""Watch: polls one job until it ends, and how long that may take."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from functools import partial
from threading import Event
from typing import Final, Protocol

from kling_ledger.config import SENDING_S
from kling_ledger.errors import DatabaseError, PollError, ProviderError
from kling_ledger.jobs.follow import POLLS_PER_S, Follower
from kling_ledger.ledger import Reservation, State
from kling_ledger.providers.attempts import FIRST_PAUSE_S, LONGEST_WISH_S, Attempts
from kling_ledger.providers.base import Provider, TaskState, TaskStatus

log: Final = logging.getLogger("kling_ledger.jobs")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a job, in seconds: `longest_s` is a job's longest life.

    `sender_s` is how long a job is left to the process that is sending it: longer than one call may
    take.
    """

    poll_every_s: float = 2.0
    longest_s: float = 900.0
    failing_polls: int = 5
    """After this many unanswered polls in a row, waiting ends; the job continues."""
    sender_s: float = SENDING_S
    repeat_s: float = FIRST_PAUSE_S
    """How soon an unanswered poll is repeated, before it counts as unanswered."""
    database_s: float = 300.0
    """How long to wait for a database that is away; jobs continue meanwhile."""


class Asker(Protocol):
    """What a watch needs from a meter: to poll, to settle by the answer, to report trouble."""

    @property
    def provider(self) -> Provider:
        """Who is polled."""

    @property
    def patience(self) -> Patience:
        """How often to poll, and for how long."""

    def poll(self, reservation: Reservation, *, is_patient: bool = True) -> TaskStatus:
        """Poll a job."""

    def observe(self, reservation: Reservation, status: TaskStatus) -> Reservation:
        """Settle a reservation by what the provider says."""

    def give_up(self, reservation: Reservation, problem: str) -> Reservation:
        """Put a job in doubt."""

    def tell_trouble(self, error: ProviderError) -> None:
        """Report that an answer failed to come."""


class Watch:
    """One job that is polled until it ends; `reservation` is its current state.

    `status` is the provider's last answer, None before the first; `error` is why the last poll got
    none.
    """

    def __init__(self, meter: Asker, reservation: Reservation) -> None:
        self.reservation = reservation
        self.error: PollError | None = None
        self.status: TaskStatus | None = None
        self._meter = meter
        self._failing = 0
        self._has_told_wish = False
        self._away_since: float | None = None
        self._give_up_at = time.monotonic() + meter.patience.longest_s
        self._attempts = self._new_attempts()

    @property
    def provider(self) -> str:
        """Who is polled."""
        return self._meter.provider.name

    @property
    def unclear(self) -> str | None:
        """The last answer, if it does not say how the job stands; otherwise None.

        That is normal for a moment: right after a creation, or in a state that nobody documents.
        """
        if self.error is not None:
            return self.error.problem if self.error.is_missing else None
        is_unknown = self.status is not None and self.status.state is TaskState.UNKNOWN
        return self.status.problem if self.status is not None and is_unknown else None

    @property
    def failing(self) -> int:
        """How many polls in a row counted as failed."""
        return self._failing

    @property
    def is_unanswered(self) -> bool:
        """Whether the last poll got no answer at all, so that a later one may."""
        is_open = self.reservation.state is State.SUBMITTED
        error = self.error
        return is_open and error is not None and not (error.is_final or error.is_missing)

    def go_on(self) -> float | None:
        """Poll again after answers failed to come, once they may come again; see `ask`."""
        self._failing, self._attempts = 0, self._new_attempts()
        return self._until_next(self._meter.patience.poll_every_s)

    def ask(self) -> float | None:
        """Poll once; return in how many seconds to poll again, None if polling is over.

        If the database is away for a while, poll again later. Raises its error if that lasts.
        """
        try:
            pause_s = self._asked()
        except DatabaseError as error:
            if not error.may_pass or self._is_away_for_long():
                raise
            log.warning("job %s is polled again: %s", self.reservation.id, error)
            return self._meter.patience.poll_every_s
        self._away_since = None
        return pause_s

    def _asked(self) -> float | None:
        if not self.reservation.is_open or self.reservation.task_id is None:
            return None
        try:
            return self._answered(self._meter.poll(self.reservation, is_patient=False))
        except PollError as error:
            return self._unanswered(error)

    def _is_away_for_long(self) -> bool:
        now = time.monotonic()
        self._away_since = self._away_since or now
        return now - self._away_since >= self._meter.patience.database_s

    def _answered(self, status: TaskStatus) -> float | None:
        self.error, self.status = None, status
        self.reservation = self._meter.observe(self.reservation, status)
        self._failing, self._attempts = 0, self._new_attempts()
        is_over = status.state in {TaskState.COMPLETED, TaskState.FAILED}
        if is_over or not self.reservation.is_open:
            return None
        return self._until_next(self._patiently(status.retry_after_s))

    def _unanswered(self, error: PollError) -> float | None:
        """Repeat the poll a few times, like any question; then it counts as failed."""
        self.error = error
        if error.is_missing:
            self._failing, self._attempts = 0, self._new_attempts()
            return self._until_next(self._patiently(error.retry_after_s))
        again_s = None if error.is_final else self._attempts.next_pause_s(error.retry_after_s)
        if again_s is not None:
            return self._until_next(again_s)
        self._attempts = self._new_attempts()
        self._meter.tell_trouble(error)
        if error.is_final or self._has_failed_enough():
            return None
        return self._until_next(self._patiently(error.retry_after_s))

    def _has_failed_enough(self) -> bool:
        self._failing += 1
        return self._failing >= self._meter.patience.failing_polls

    def _new_attempts(self) -> Attempts:
        return Attempts(first_pause_s=self._meter.patience.repeat_s)

    def _patiently(self, asked_s: float | None) -> float:
        """Return how long to pause: as long as the provider wishes, within a limit."""
        wish_s = min(asked_s or 0.0, LONGEST_WISH_S)
        if asked_s is not None and asked_s > LONGEST_WISH_S and not self._has_told_wish:
            self._has_told_wish = True
            problem = f"asks for a pause of {asked_s:.0f} s; the next poll is in {wish_s:g} s"
            self._meter.tell_trouble(PollError(self.provider, problem))
        return max(self._meter.patience.poll_every_s, wish_s)

    def _until_next(self, pause_s: float) -> float | None:
        left_s = self._give_up_at - time.monotonic()
        if left_s > 0:
            return min(pause_s, left_s)
        problem = f"no verdict within {self._meter.patience.longest_s:g} s"
        problem += f": {self.unclear}" if self.unclear else ""
        self.reservation = self._meter.give_up(self.reservation, problem)
        return None


def followed(
    watches: Iterable[Watch], *, stop: Event | None = None, polls_per_s: float = POLLS_PER_S
) -> Generator[Watch, None, None]:
    """Follow jobs and yield each as it is over; with `stop` set, the others stay as they are."""
    with Follower[tuple[Watch, float | None]](stop=stop, polls_per_s=polls_per_s) as follower:
        for watch in watches:
            follower.put(partial(_asked, watch), asks=watch.provider)
        for watch, pause_s in follower:
            if pause_s is None:
                yield watch
            else:
                follower.put(partial(_asked, watch), in_s=pause_s, asks=watch.provider)


def _asked(watch: Watch) -> tuple[Watch, float | None]:
    return watch, watch.ask()
