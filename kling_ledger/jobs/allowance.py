"""The allowance of a batch: what all of its jobs together may cost."""

from __future__ import annotations

from collections import Counter
from threading import Lock

from kling_ledger.errors import TotalError
from kling_ledger.jobs.batch_jobs import Outcome
from kling_pricing.money import Money


class Allowance:
    """What the jobs of a batch may still cost together: each takes its share before it is reserved.

    Safe to share between the threads that begin jobs.
    """

    def __init__(self, most: Money | None) -> None:
        self._most = most
        self._micro_of: Counter[int] = Counter()
        self._micro = 0
        self._lock = Lock()

    def promise(self, place: int, amount: Money) -> None:
        """Take what a job needs. Raises TotalError if that exceeds what is left."""
        with self._lock:
            cost = self._micro - self._micro_of[place] + amount.micro
            if self._most is not None and cost > self._most.micro:
                raise TotalError(cost=Money.from_micro(cost, amount.unit), most=self._most)
            self._set(place, amount.micro)

    def settle(self, outcome: Outcome) -> None:
        """Keep what a job that is over really cost, and free the rest of its share."""
        found = outcome.reservation
        if found is None or not found.is_open:
            spent = 0 if found is None or found.committed is None else found.committed.micro
            with self._lock:
                self._set(outcome.job.place, spent)

    def _set(self, place: int, micro: int) -> None:
        self._micro += micro - self._micro_of[place]
        self._micro_of[place] = micro
