"""Settling: a provider's report about a task ends its reservation, or leaves it open."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Final

from kling_ledger.errors import StateError
from kling_ledger.jobs.endings import Does, Ending, ending
from kling_ledger.jobs.listeners import Listeners
from kling_ledger.jobs.overcharge import noted, overcharge
from kling_ledger.ledger import Change, Ledger, Reservation, State
from kling_ledger.providers.base import TaskState, TaskStatus
from kling_ledger.providers.registry import FACTS
from kling_pricing.money import Money

log: Final = logging.getLogger("kling_ledger.jobs")

_LOOKS: Final = 4
"""How often to retry when other processes change the job, before it is left to them."""


@dataclass(frozen=True, slots=True)
class Settler:
    """Commits and rolls back reservations by the states of their tasks.

    A cost above the `ceiling`, or far above what was held, is charged and noted.
    """

    ledger: Ledger
    listeners: Listeners
    ceiling: Money | None = None

    def observe(self, reservation: Reservation, status: TaskStatus) -> Reservation:
        """Settle a reservation by what the provider says about its task; see `jobs.endings`.

        A running job, or one whose answer is undocumented, stays as it is.
        """
        found = reservation
        for _ in range(_LOOKS):
            changes = self._changes(found, status)
            if not changes:
                return found
            try:
                return self.listeners.tell_change(self.ledger.settle(changes)[-1])
            except StateError:
                # Another process changed it first: its new state decides.
                found = self.ledger.reservations.get(found.id)
        return found

    def give_up(self, reservation: Reservation, problem: str) -> Reservation:
        """Put an open job in doubt: its outcome is unknown, and its credits stay reserved."""
        try:
            return self.listeners.tell_change(self.ledger.mark_in_doubt(reservation.id, problem))
        except StateError:
            return self.ledger.reservations.get(reservation.id)

    def _changes(self, found: Reservation, status: TaskStatus) -> list[Change]:
        """Return the changes that an answer makes to a reservation, all at once."""
        if status.state is TaskState.RUNNING and found.state is State.IN_DOUBT and found.task_id:
            return [_submitted(found)]
        end = ending(found, status, facts=FACTS.get(found.job.provider or ""))
        if end.does is Does.COMMIT:
            return [self._commit(found, status, end)]
        if end.does is Does.ROLL_BACK:
            return [_ended(found, State.ROLLED_BACK, end.problem)]
        if end.does is Does.DOUBT:
            # Read again: a doubt that is already recorded is not recorded twice.
            return _doubt(self.ledger.reservations.get(found.id), status, end.problem)
        if end.problem:
            log.warning("job %s at %s: %s", found.id, found.job.provider, end.problem)
        return []

    def _commit(self, found: Reservation, status: TaskStatus, end: Ending) -> Change:
        odd = overcharge(found, status.cost, ceiling=self.ceiling)
        problem = noted(end.problem, odd)
        return replace(
            _ended(found, State.COMMITTED, problem),
            amount=end.cost,
            settled_by=end.settled_by,
            videos=status.videos,
            videos_expire_at=status.videos_expire_at,
        )


def _ended(found: Reservation, state: State, problem: str | None) -> Change:
    return Change(found.id, state, problem=problem, only_from=found.state, reason=problem)


def _submitted(found: Reservation) -> Change:
    return Change(found.id, State.SUBMITTED, task_id=found.task_id, only_from=found.state)


def _doubt(found: Reservation, status: TaskStatus, problem: str | None) -> list[Change]:
    """Return the changes that record a doubt, its reason and the clips; none if already known."""
    doubted = replace(
        _ended(found, State.IN_DOUBT, problem),
        videos=status.videos,
        videos_expire_at=status.videos_expire_at,
    )
    if found.state is not State.IN_DOUBT:
        return [doubted]
    is_known = found.problem == problem and set(status.videos) <= set(found.videos)
    if is_known or found.task_id is None:
        return []
    return [_submitted(found), replace(doubted, only_from=State.SUBMITTED)]
