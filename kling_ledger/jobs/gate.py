"""Gate: the jobs of a batch that wait for one provider until its breaker admits them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from kling_ledger.errors import PollError, QuestionError
from kling_ledger.jobs.batch_jobs import Attempt
from kling_ledger.jobs.breaker import Admits, Breaker
from kling_ledger.jobs.meter import Meter
from kling_ledger.ledger import Reservation


@dataclass(frozen=True, slots=True)
class Held:
    """An attempt that was not begun, because its provider's breaker admits none now."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Probed:
    """The result of a probe: its breaker knows whether the provider answered."""

    provider: str


class Gate:
    """What waits for one provider. One thread holds and releases; `ask` may run in another.

    `known` is a job whose task can be polled if the provider reports no balance; `not_started` are
    the attempts that will not be begun.
    """

    def __init__(self, meter: Meter, breaker: Breaker) -> None:
        self.breaker = breaker
        self.held: deque[Attempt] = deque()
        self.not_started: list[Attempt] = []
        self.known: Reservation | None = None
        self._meter = meter
        self._tried: int | None = None
        self._is_asking = False

    def hold(self, attempt: Attempt) -> None:
        """Hold an attempt until it may be begun."""
        self.came_back(attempt.job.place)
        self.held.append(attempt)

    def came_back(self, place: int) -> None:
        """Note that an attempt has been begun, or was not admitted after all."""
        if self._tried == place:
            self._tried = None

    def released(self) -> list[Attempt]:
        """Return the held attempts that may begin now, in their order."""
        admits = self.breaker.admits
        if admits is Admits.ONE and self.held and self._tried is None:
            first = self.held.popleft()
            self._tried = first.job.place
            return [first]
        if admits is Admits.NEVER:
            self.not_started.extend(self.held)
        if admits in {Admits.NEVER, Admits.ALL}:
            found = list(self.held) if admits is Admits.ALL else []
            self.held.clear()
            return found
        return []

    def is_to_ask(self, *, are_others_in_flight: bool) -> bool:
        """Whether to probe the provider after a pause; if so, the caller has to `ask`."""
        is_of_use = bool(self.held) or are_others_in_flight
        if self.breaker.admits is not Admits.NONE or not is_of_use or self._is_asking:
            return False
        self._is_asking = True
        return True

    def ask(self) -> Probed:
        """Ask the provider something that is free; if there is no such thing, let a job try."""
        try:
            self._ask()
        except QuestionError as error:
            # A refusal is an answer too.
            self.breaker.probed(is_answered=error.is_final or _is_missing(error))
        else:
            self.breaker.probed(is_answered=True)
        self._is_asking = False
        return Probed(self._meter.provider.name)

    def _ask(self) -> None:
        if self._meter.provider.facts.tells_balance:
            self._meter.provider.balance()
        elif self.known is not None:
            self._meter.poll(self.known)


def _is_missing(error: QuestionError) -> bool:
    return isinstance(error, PollError) and error.is_missing
