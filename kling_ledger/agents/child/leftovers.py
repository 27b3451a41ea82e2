"""Leftovers: the jobs that a program has started and not seen to their end."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from threading import Event

from kling_ledger.jobs.meter import Meter
from kling_ledger.jobs.recovery import Recovery
from kling_ledger.ledger import Ledger, Reservation


@dataclass(frozen=True)
class Leftovers:
    """Which jobs of a run are not known to have ended, each with the meter of its own key.

    The gateway tells of a job once its provider has taken it, and again when its end was seen.
    """

    ledger: Ledger
    poll_every_s: float
    _meters: dict[str, Meter] = field(default_factory=dict)

    def expect(self, reservation: Reservation, meter: Meter) -> None:
        """Keep a job in mind that was sent."""
        self._meters[reservation.id] = meter

    def forget(self, reservation_id: str) -> None:
        """Keep a job in mind no longer: somebody has seen its end."""
        self._meters.pop(reservation_id, None)

    def settle(self, wait_s: float, stop: Event) -> None:
        """Ask for each of them, once or until all have ended, at most that long or until `stop`.

        What was sent and never answered is left: `resume` repeats it where that is safe.
        """
        give_up_at = time.monotonic() + wait_s
        while taken := self._taken():
            recovery = Recovery(self.ledger, lambda one: self._meters[one.id], self.ledger.now())
            deque(recovery.run(taken), maxlen=0)
            left_s = give_up_at - time.monotonic()
            if left_s <= 0 or stop.wait(min(left_s, self.poll_every_s)):
                return

    def _taken(self) -> list[Reservation]:
        found = [self.ledger.reservations.get(one) for one in list(self._meters)]
        return [one for one in found if one.is_open and one.task_id is not None]
