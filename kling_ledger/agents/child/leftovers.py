"""Leftovers: the jobs that a program has started and not seen to their end."""

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
"""How often jobs are asked for while their program runs, which mostly asks itself."""


@dataclass(frozen=True)
class Leftovers:
    """Which jobs of a run are not known to have ended, each with the meter of its own key.

    The gateway tells of a job once its provider has taken it, and again when its end was seen.
    What was sent and never answered is left: `resume` repeats it where that is safe.
    """

    ledger: Ledger
    poll_every_s: float
    look_every_s: float = LOOK_EVERY_S
    _meters: dict[str, Meter] = field(default_factory=dict)

    def expect(self, reservation: Reservation, meter: Meter) -> None:
        """Keep a job in mind that was sent."""
        self._meters[reservation.id] = meter

    def forget(self, reservation_id: str) -> None:
        """Keep a job in mind no longer: somebody has seen its end."""
        self._meters.pop(reservation_id, None)

    @contextmanager
    def looked_after(self) -> Iterator[None]:
        """Ask for each now and again while the block lasts, so that ended ones hold no credits."""
        over = Event()
        thread = Thread(target=self._look_after, args=(over,), name="kling leftovers", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def settle(self, wait_s: float, stop: Event) -> None:
        """Ask for each, once or until all have ended: at most that long, or until `stop`."""
        give_up_at = time.monotonic() + wait_s
        while self._look(stop):
            left_s = give_up_at - time.monotonic()
            if left_s <= 0 or stop.wait(min(left_s, self.poll_every_s)):
                return

    def _look_after(self, over: Event) -> None:
        while not over.wait(self.look_every_s):
            # A database that is away is looked at again in a moment.
            with suppress(DatabaseError):
                self._look(over)

    def _look(self, stop: Event) -> bool:
        """Ask once for each job that its provider has; return whether one of them is still open."""
        meters = {id_: replace(meter, stop=stop) for id_, meter in self._meters.copy().items()}
        found = [self.ledger.reservations.get(one) for one in meters]
        taken = [one for one in found if one.is_open and one.task_id is not None]
        recovery = Recovery(self.ledger, lambda one: meters[one.id], self.ledger.now())
        seen = [told.reservation for told in recovery.run(taken)]
        for one in (*found, *seen):
            if not one.is_open:
                self.forget(one.id)
        return any(one.is_open for one in seen)
