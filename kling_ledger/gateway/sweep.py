"""Sweep: the open jobs of one provider, a page at a time, from the ledger rather than memory.

They come newest first, and running jobs before those in doubt, which may be old: so the jobs that
someone waits for come first.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from typing import Final

from kling_ledger.jobs.meter import Meter
from kling_ledger.jobs.places import Place
from kling_ledger.ledger import Ledger, Reservation, State

PAGE: Final = 20
"""How many jobs are read at a time."""

_ORDER: Final = (State.SUBMITTED, State.SUBMITTING, State.RESERVED, State.IN_DOUBT)


class Sweep:
    """Goes through a provider's open jobs once; one thread reads a page at a time.

    With a `meter`, only the jobs at its place. `waiting` counts the jobs without a key, by place;
    `left` is how many of a page are still to be polled.
    """

    def __init__(
        self,
        ledger: Ledger,
        provider: str,
        *,
        place: Place | None = None,
        meter: Meter | None = None,
    ) -> None:
        self.provider = provider
        self.place = place
        self.meter = meter
        self.waiting: Counter[Place] = Counter()
        self.left = 0
        self._ledger = ledger
        self._states = deque(_ORDER)
        self._after: str | None = None
        self._begun_at = time.monotonic()

    @property
    def is_new(self) -> bool:
        """Whether nothing has been read yet."""
        return len(self._states) == len(_ORDER) and self._after is None

    @property
    def took_s(self) -> float:
        """How long it has taken since its first page."""
        return time.monotonic() - self._begun_at

    def anew(self) -> Sweep:
        """Return a new sweep of the same jobs."""
        return Sweep(self._ledger, self.provider, place=self.place, meter=self.meter)

    def page(self) -> list[Reservation]:
        """Return the next jobs; none at the end."""
        if self.is_new:
            self._begun_at = time.monotonic()
        while self._states:
            found = self._ledger.reservations.latest(
                state=self._states[0], provider=self.provider, after=self._after, limit=PAGE
            )
            if len(found) < PAGE:
                self._states.popleft()
                self._after = None
            else:
                self._after = found[-1].id
            if wanted := [one for one in found if self._is_wanted(one)]:
                return wanted
        return []

    def _is_wanted(self, one: Reservation) -> bool:
        is_sent_by_us = one.job.request is not None and one.job.address is not None
        return is_sent_by_us and self.place in {None, place_of(one)}


def place_of(one: Reservation) -> Place:
    """Return the place of a job that has an address."""
    job = one.job
    return Place(job.provider or "", job.address or "", job.account)
