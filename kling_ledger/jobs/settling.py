"""Settling: what a provider says of a task ends its reservation, or leaves it open."""

from __future__ import annotations

from dataclasses import dataclass

from kling_ledger.errors import StateError
from kling_ledger.jobs.listeners import Listeners
from kling_ledger.jobs.overcharge import noted, overcharge
from kling_ledger.ledger import Ledger, Reservation, State
from kling_ledger.providers.base import TaskState, TaskStatus
from kling_ledger.providers.registry import FACTS
from kling_pricing.money import Money


@dataclass(frozen=True, slots=True)
class Settler:
    """Commits and rolls back reservations by the states of their tasks.

    What a job costs above the `ceiling`, or far above what was held, is charged and noted.
    """

    ledger: Ledger
    listeners: Listeners
    ceiling: Money | None = None

    def observe(self, reservation: Reservation, status: TaskStatus) -> Reservation:
        """Settle a reservation by what the provider says of its task.

        A job that runs, or of which nothing is said that is documented, stays as it is.
        """
        try:
            settled = self._settled(reservation, status)
        except StateError:
            # Another process has seen the end of the job first.
            return self.ledger.reservations.get(reservation.id)
        is_news = settled.state is not reservation.state
        return self.listeners.tell_change(settled) if is_news else settled

    def give_up(self, reservation: Reservation, problem: str) -> Reservation:
        """Put an open job in doubt: nobody knows yet what became of it. Its credits stay."""
        try:
            return self.listeners.tell_change(self.ledger.mark_in_doubt(reservation.id, problem))
        except StateError:
            return self.ledger.reservations.get(reservation.id)

    def _settled(self, reservation: Reservation, status: TaskStatus) -> Reservation:
        has_failed = status.state is TaskState.FAILED
        was_charged = status.cost is not None and status.cost.micro > 0
        # A failure that was charged is charged: the truth about money wins.
        if status.state is TaskState.COMPLETED or (has_failed and was_charged):
            return self._committed(reservation, status)
        if has_failed:
            problem = status.problem or "the provider says that it failed"
            facts = FACTS.get(reservation.job.provider or "")
            if facts is not None and not facts.frees_failures and status.cost is None:
                return self.ledger.mark_in_doubt(reservation.id, problem)
            return self.ledger.roll_back(reservation.id, problem)
        if status.state is TaskState.UNKNOWN:
            return reservation
        if reservation.state is State.IN_DOUBT and reservation.task_id is not None:
            return self.ledger.mark_submitted(reservation.id, reservation.task_id)
        return reservation

    def _committed(self, reservation: Reservation, status: TaskStatus) -> Reservation:
        return self.ledger.commit(
            reservation.id,
            status.cost or reservation.amount,
            settled_by="provider" if status.cost else "quote",
            videos=status.videos,
            videos_expire_at=status.videos_expire_at,
            problem=noted(
                status.problem, overcharge(reservation, status.cost, ceiling=self.ceiling)
            ),
        )
