"""Polls: a caller asks for a task; the answer is passed on, and an end in it settles the job."""

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
    """What a poll has shown of a job of ours; None where the task is nobody's."""

    reservation: Reservation | None = None
    left: Left | None = None


class Polls:
    """Settles jobs by what callers' own polls bring. Each call blocks.

    `forget` is told of each that has ended, `known` of a key that its provider knows.
    """

    def __init__(
        self, ledger: Ledger, forget: Callable[[str], None], known: Callable[[Meter], None]
    ) -> None:
        self._ledger = ledger
        self._forget = forget
        self._known = known

    def seen(self, meter: Meter, wire: Wire, task_id: str, reply: Reply) -> Seen:
        """Take in an answer about a task; one that says nothing of it moves nothing.

        Raises DatabaseError where an end cannot be written down.
        """
        answer = Answer.of(reply)
        # First of all: a key that the provider does not know must not become an account.
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
        """Return which wallet pays for a task, None where it is nobody's."""
        found = self._found(meter, task_id)
        return None if found is None else found.wallet

    def _found(self, meter: Meter, task_id: str) -> Reservation | None:
        place = meter.place
        try:
            return self._ledger.reservations.of_task(
                place.provider, task_id, address=place.address, account=place.account
            )
        except ConflictError:
            # Two jobs of one name: whose end it is only a person can say.
            return None


def is_running(wire: Wire, task_id: str, reply: Reply) -> bool:
    """Whether an answer says that a task still runs, so that there is nothing to write down."""
    answer = Answer.of(reply)
    if wire.dialect.verdict(answer) is not Verdict.TAKEN:
        return True
    return wire.understood(task_id, answer).state is TaskState.RUNNING


@dataclass(frozen=True, slots=True)
class Known:
    """Whose a task is: its reservation, and the wallet that pays for it."""

    reservation_id: str
    wallet: str


class Tasks:
    """Whose each task is, of the latest that were submitted or asked for."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], Known] = OrderedDict()
        self._lock = Lock()

    def know(self, provider: str, task_id: str, reservation: Reservation) -> None:
        """Keep in mind whose a task is."""
        with self._lock:
            self._known[provider, task_id] = Known(reservation.id, reservation.wallet)
            if len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)

    def of(self, provider: str, task_id: str) -> Known | None:
        """Return whose a task is, None if it is not in mind."""
        with self._lock:
            return self._known.get((provider, task_id))
