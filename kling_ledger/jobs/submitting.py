"""Submitting: a job is sent once, and what became of the sending is written down.

`submitting` is on disk before the call. A crash between the two is then known for what it is.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from kling_ledger.errors import (
    DatabaseError,
    JobInDoubtError,
    JobRefusedError,
    ProviderError,
    StateError,
    TaskNotWrittenError,
)
from kling_ledger.jobs.listeners import Listeners
from kling_ledger.ledger import Ledger, Reservation, State
from kling_ledger.providers.base import Provider, Submission

log: Final = logging.getLogger("kling_ledger.jobs")

_WRITES: Final = 4
_WRITE_AGAIN_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Submitter:
    """Sends the jobs of reservations to a provider."""

    ledger: Ledger
    provider: Provider
    listeners: Listeners

    def submit(self, reservation: Reservation, body: dict[str, Any]) -> Submission:
        """Send the job of a reservation; see `Meter.submit`."""
        begun = self._begin(reservation)
        try:
            submission = self.provider.submit(action_of(begun), body, key=begun.id)
        except BaseException as error:
            self._not_submitted(begun, error)
            raise
        self._submitted(begun.id, submission.task_id)
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

    def _submitted(self, reservation_id: str, task_id: str) -> None:
        """Write down which task the provider made: nothing else knows it any more."""
        try:
            self.listeners.tell_change(self._written(reservation_id, task_id))
        except StateError:
            # It ended while the request was under way: the task is kept, it may yet be charged.
            self.ledger.record_task(reservation_id, task_id)
            if self.ledger.reservations.get(reservation_id).task_id != task_id:
                raise

    def _written(self, reservation_id: str, task_id: str) -> Reservation:
        """Mark a job as submitted, trying on while the database is away for a moment."""
        for writes_left in reversed(range(_WRITES)):
            try:
                return self.ledger.mark_submitted(reservation_id, task_id)
            except DatabaseError as error:
                log.warning("job %s is task %s, and that is not written", reservation_id, task_id)
                if not (error.retryable and writes_left):
                    raise TaskNotWrittenError(
                        error.message, reservation_id=reservation_id, task_id=task_id
                    ) from error
            time.sleep(_WRITE_AGAIN_S)
        raise AssertionError("the last try returns or raises")

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
            self.listeners.tell_change(end(begun.id, problem, only_from=State.SUBMITTING))


def action_of(reservation: Reservation) -> str:
    """Return the action that a reservation's job is submitted to and asked for under."""
    return reservation.job.action or "text_to_video"
