"""Submitting: a job is sent once, and what became of the sending is written down.

`submitting` is on disk before the call. A crash between the two is then known for what it is.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from kling_ledger.errors import (
    DatabaseError,
    JobInDoubtError,
    JobRefusedError,
    ProviderError,
    StateError,
)
from kling_ledger.jobs.endings import is_absurd
from kling_ledger.jobs.listeners import Listeners
from kling_ledger.jobs.overcharge import overcharge
from kling_ledger.ledger import Change, Ledger, Reservation, State
from kling_ledger.ledger.unwritten import keep_task, lasting
from kling_ledger.providers.base import Provider, Submission
from kling_pricing.errors import AmountError
from kling_pricing.money import Money

log: Final = logging.getLogger("kling_ledger.jobs")


@dataclass(frozen=True, slots=True)
class Submitter:
    """Sends the jobs of reservations to a provider."""

    ledger: Ledger
    provider: Provider
    listeners: Listeners
    ceiling: Money | None = None

    def submit(self, reservation: Reservation, body: dict[str, Any]) -> Submission:
        """Send the job of a reservation; see `Meter.submit`."""
        begun = self._begin(reservation)
        try:
            submission = self.provider.submit(action_of(begun), body, key=begun.id)
        except BaseException as error:
            self._not_submitted(begun, error)
            raise
        self._submitted(begun, submission)
        return submission

    def _begin(self, known: Reservation) -> Reservation:
        """Claim the sending of a job; whoever repeats one takes the verdict away from its sender.

        The first sender may roll back on a refusal only while the row is still `submitting`, so a
        row that is sent again is put in doubt before, and stays there until a task is known.
        """
        if known.state is State.RESERVED:
            # Not read again: where somebody else has moved it on, this is refused by itself.
            return self.listeners.tell_change(self.ledger.mark_submitting(known.id))
        found = self.ledger.reservations.get(known.id)
        if not found.is_open or found.task_id is not None:
            raise StateError(known.id, state=found.state, change="submitted")
        repeats = self.provider.repeats_safely
        problem = "its submission got no answer yet" + (
            "" if repeats else ", and a second one could be charged too"
        )
        doubtful = self.listeners.tell_change(self.ledger.mark_in_doubt(known.id, problem))
        if not repeats:
            raise JobInDoubtError(self.provider.name, problem)
        return doubtful

    def _submitted(self, begun: Reservation, submission: Submission) -> None:
        """Write down which task the provider made: nothing else knows it any more."""
        kept = keep_task(
            self.ledger, begun.id, submission.task_id, lambda: self._taken(begun, submission)
        )
        if kept.state is State.SUBMITTED:
            self.listeners.tell_change(kept)

    def _taken(self, begun: Reservation, submission: Submission) -> Reservation:
        """Write down the task, and hold for it what its provider says that it reserved."""
        changes = taken(begun, submission, provider=self.provider.name, ceiling=self.ceiling)
        try:
            return self.ledger.settle(changes)[-1]
        except AmountError:
            # What cannot be held must not cost us the name of the task.
            log.warning("job %s: the amount reserved at the provider cannot be held", begun.id)
            return self.ledger.settle(changes[:1])[-1]

    def _not_submitted(self, begun: Reservation, error: BaseException) -> None:
        """Roll back what was refused for certain; whatever else went wrong, it may be on its way.

        A refusal of a repeated submission says nothing of the first one, and Ctrl-C in the middle
        of a call says nothing at all.
        """
        if begun.state is not State.SUBMITTING:
            return
        problem = error.problem if isinstance(error, ProviderError) else type(error).__name__
        is_refused = isinstance(error, JobRefusedError)
        end = self.ledger.roll_back if is_refused else self.ledger.mark_in_doubt
        with suppress(StateError):
            try:
                told = lasting(lambda: end(begun.id, problem, only_from=State.SUBMITTING))
            except DatabaseError as away:
                # Why it was not submitted is what its caller has to hear of. Its credits stay.
                error.add_note(f"reservation {begun.id} is still {begun.state}: {away}")
            else:
                self.listeners.tell_change(told)


def taken(
    begun: Reservation, submission: Submission, *, provider: str, ceiling: Money | None = None
) -> list[Change]:
    """Return what a create reply changes: the task is known, and its hold is the provider's own.

    An amount that no such job could have is of another scale: it is told, and the hold stays.
    """
    task = Change(begun.id, State.SUBMITTED, task_id=submission.task_id)
    theirs = submission.held
    if theirs is None:
        return [task]
    if is_absurd(theirs, begun.held):
        strange = f"{provider} reports that it reserved {theirs}; {begun.held} stays held"
        log.warning("job %s: %s", begun.id, strange)
        return [replace(task, problem=strange, reason=strange)]
    odd = overcharge(begun, theirs, ceiling=ceiling, took="reserved")
    reason = f"{provider} reserved {theirs}"
    return [task, Change(begun.id, None, theirs, is_hold=True, problem=odd, reason=reason)]


def action_of(reservation: Reservation) -> str:
    """Return the action that a reservation's job is submitted to and asked for under."""
    return reservation.job.action or "text_to_video"
