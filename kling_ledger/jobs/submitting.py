"""Submitting: a job is sent once, and the outcome of sending it is recorded.

`submitting` is on disk before the call, so that a crash between the two is recognised.
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
        """Claim the sending of a job; a repeat takes the decision away from the first sender.

        The first sender may roll back on a refusal only while the row is still `submitting`. So a
        row is put in doubt before it is sent again, and stays in doubt until its task is known.
        """
        if known.state is State.RESERVED:
            # Not read again: if another process has changed it, the ledger refuses this.
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
        """Record the task that the provider created: nothing else knows it any more."""
        kept = keep_task(
            self.ledger, begun.id, submission.task_id, lambda: self._taken(begun, submission)
        )
        if kept.state is State.SUBMITTED:
            self.listeners.tell_change(kept)

    def _taken(self, begun: Reservation, submission: Submission) -> Reservation:
        """Record the task, and hold what its provider says that it reserved."""
        changes = taken(begun, submission, provider=self.provider.name, ceiling=self.ceiling)
        try:
            return self.ledger.settle(changes)[-1]
        except AmountError:
            # An amount that cannot be held must not cost us the task id.
            log.warning("job %s: the amount reserved at the provider cannot be held", begun.id)
            return self.ledger.settle(changes[:1])[-1]

    def _not_submitted(self, begun: Reservation, error: BaseException) -> None:
        """Roll back a definite refusal; after any other error the request may have been sent.

        A refusal of a repeated submission says nothing about the first one, and Ctrl-C during a
        call says nothing at all.
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
                # The caller has to see why it was not submitted. Its credits stay reserved.
                error.add_note(f"reservation {begun.id} is still {begun.state}: {away}")
            else:
                self.listeners.tell_change(told)


def taken(
    begun: Reservation, submission: Submission, *, provider: str, ceiling: Money | None = None
) -> list[Change]:
    """Return what a create reply changes: the task is known, and its hold is the provider's own.

    An amount that no such job could have is in another scale: it is reported, and the hold stays.
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
    """Return the action under which a reservation's job is submitted and polled."""
    return reservation.job.action or "text_to_video"
