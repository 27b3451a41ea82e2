"""Polls: a caller polls a task; the answer is passed on, and an end in it settles the job."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Final

from kling_ledger.errors import ConflictError
from kling_ledger.gateway.wires import Wire
from kling_ledger.jobs.meter import Meter
from kling_ledger.ledger import Ledger, Reservation
from kling_ledger.ledger.lefts import Left
from kling_ledger.providers.base import TaskState
from kling_ledger.providers.http import Reply
from kling_ledger.providers.replies import Answer, Verdict

_MOST_KNOWN: Final = 100_000


@dataclass(frozen=True, slots=True)
class Seen:
    """What a poll has shown about one of our jobs; None if the task is unknown."""

    reservation: Reservation | None = None
    left: Left | None = None


class Polls:
    """Settles jobs from callers' own polls. Each call blocks.

    `forget` is called for each ended job, `known` for each key that its provider accepts.
    """

    def __init__(
        self, ledger: Ledger, forget: Callable[[str], None], known: Callable[[Meter], None]
    ) -> None:
        self._ledger = ledger
        self._forget = forget
        self._known = known

    def seen(self, meter: Meter, wire: Wire, task_id: str, reply: Reply) -> Seen:
        """Process an answer about a task; one without facts moves nothing.

        Raises DatabaseError if an end cannot be recorded.
        """
        answer = Answer.of(reply)
        # First: a key that the provider does not accept must not become an account.
        if wire.dialect.verdict(answer) is not Verdict.TAKEN:
            return Seen()
        found = self._found(meter, task_id)
        self._known(meter)
        if found is None:
            return Seen()
        now = meter.observe(found, wire.understood(task_id, answer))
        if not now.is_open:
            self._forget(now.id)
        return Seen(*self._ledger.reservations.with_left(now.id))

    def wallet_of(self, meter: Meter, task_id: str) -> str | None:
        """Return the wallet that pays for a task, or None if the task is unknown."""
        found = self._found(meter, task_id)
        return None if found is None else found.wallet

    def _found(self, meter: Meter, task_id: str) -> Reservation | None:
        place = meter.place
        try:
            return self._ledger.reservations.of_task(
                place.provider, task_id, address=place.address, account=place.account
            )
        except ConflictError:
            # Two jobs with the same task id: only a person can say which one ended.
            return None


def is_running(wire: Wire, task_id: str, reply: Reply) -> bool:
    """Whether an answer says that a task is still running, so there is nothing to record."""
    answer = Answer.of(reply)
    if wire.dialect.verdict(answer) is not Verdict.TAKEN:
        return True
    return wire.understood(task_id, answer).state is TaskState.RUNNING


@dataclass(frozen=True, slots=True)
class Known:
    """The owner of a task: its reservation, and the wallet that pays for it."""

    reservation_id: str
    wallet: str


class Tasks:
    """The owners of the tasks submitted or polled most recently."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], Known] = OrderedDict()
        self._lock = Lock()

    def know(self, provider: str, task_id: str, reservation: Reservation) -> None:
        """Remember the owner of a task."""
        with self._lock:
            self._known[provider, task_id] = Known(reservation.id, reservation.wallet)
            if len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)

    def of(self, provider: str, task_id: str) -> Known | None:
        """Return the owner of a task, None if it is not remembered."""
        with self._lock:
            return self._known.get((provider, task_id))
