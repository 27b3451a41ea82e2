"""Leftovers: jobs that a program started and did not follow to their end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from threading import Event, Thread
from typing import Final

from kling_ledger.errors import DatabaseError
from kling_ledger.jobs.meter import Meter
from kling_ledger.jobs.recovery import Recovery
from kling_ledger.ledger import Ledger, Reservation

LOOK_EVERY_S: Final = 10.0
"""How often jobs are polled while their program runs, which usually polls them itself."""


@dataclass(frozen=True)
class Leftovers:
    """The open jobs of a run, each with the meter of its own key.

    The gateway adds a job once its provider has accepted it, and removes it when its end was seen.
    Submissions without an answer are left to `resume`, which repeats them if that is safe.
    """

    ledger: Ledger
    poll_every_s: float
    look_every_s: float = LOOK_EVERY_S
    _meters: dict[str, Meter] = field(default_factory=dict)

    def expect(self, reservation: Reservation, meter: Meter) -> None:
        """Add a submitted job."""
        self._meters[reservation.id] = meter

    def forget(self, reservation_id: str) -> None:
        """Remove a job whose end was seen."""
        self._meters.pop(reservation_id, None)

    @contextmanager
    def looked_after(self) -> Iterator[None]:
        """Poll the jobs from time to time while the block lasts, so ended ones release credits."""
        over = Event()
        thread = Thread(target=self._look_after, args=(over,), name="kling leftovers", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def settle(self, wait_s: float, stop: Event) -> None:
        """Poll each job, once or until all have ended, for at most this long or until `stop`."""
        give_up_at = time.monotonic() + wait_s
        while self._look(stop):
            left_s = give_up_at - time.monotonic()
            if left_s <= 0 or stop.wait(min(left_s, self.poll_every_s)):
                return

    def _look_after(self, over: Event) -> None:
        while not over.wait(self.look_every_s):
            # If the database is unreachable, try again in a moment.
            with suppress(DatabaseError):
                self._look(over)

    def _look(self, stop: Event) -> bool:
        """Poll each job once; return whether any of them is still open."""
        meters = {id_: replace(meter, stop=stop) for id_, meter in self._meters.copy().items()}
        found = [self.ledger.reservations.get(one) for one in meters]
        taken = [one for one in found if one.is_open and one.task_id is not None]
        recovery = Recovery(self.ledger, lambda one: meters[one.id], self.ledger.now())
        seen = [told.reservation for told in recovery.run(taken)]
        for one in (*found, *seen):
            if not one.is_open:
                self.forget(one.id)
        return any(one.is_open for one in seen)
