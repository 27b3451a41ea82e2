"""The meter: the one place where money and jobs meet.

quote -> reserve -> submitting (durable) -> submit -> submitted -> poll -> commit | roll back.
Nothing is sent without a reservation, and nothing comes back without a verdict: whoever gives up
waiting leaves the credits reserved.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from kling_ledger.errors import JobInDoubtError, JobRefusedError, PollError, ProviderError
from kling_ledger.ledger import Job, Ledger, Reservation, State, utc_now
from kling_ledger.providers.base import Provider, Submission, TaskState, TaskStatus
from kling_pricing.money import Money
from kling_pricing.quote import Quote
from kling_pricing.requests import Request, read_request


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a job, in seconds: `longest_s` is a job's longest life."""

    poll_every_s: float = 2.0
    longest_s: float = 900.0
    failing_polls: int = 5
    """After so many polls in a row without an answer the waiting ends; the job goes on."""


def _silent(_: Reservation) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Meter:
    """Runs jobs at one provider against one wallet. Safe to share between threads.

    `on_change` is told of each new state of a reservation, for progress.
    """

    ledger: Ledger
    provider: Provider
    wallet: str
    project: str | None = None
    ceiling: Money | None = None
    patience: Patience = field(default_factory=Patience)
    on_change: Callable[[Reservation], None] = _silent
    clock: Callable[[], datetime] = utc_now
    sleep: Callable[[float], None] = time.sleep

    def run(
        self, body: dict[str, Any], *, action: str | None = None, key: str | None = None
    ) -> Reservation:
        """Run one request to its end and return its reservation, however the job ended.

        The reservation is `committed`, `rolled_back`, or still open where no verdict came. With a
        key that was used before, the same job is followed, and none is started.
        Raises RequestError, NoPriceError or RefusedError before anything is sent.
        """
        return self.carry_on(self.reserve(body, action=action, key=key), body)

    def carry_on(self, reservation: Reservation, body: dict[str, Any]) -> Reservation:
        """Bring an open reservation to its end: submit it if that is to do, then follow it."""
        if reservation.is_open and reservation.task_id is None:
            try:
                self.submit(reservation, body)
            except ProviderError:
                return self.ledger.reservation(reservation.id)
        return self.follow(reservation.id)

    def reserve(
        self, body: dict[str, Any], *, action: str | None = None, key: str | None = None
    ) -> Reservation:
        """Quote a request and set its cost aside."""
        request = read_request(self.provider.name, body, action=action)
        quoted = request.quote(at=self.clock())
        reservation = self.ledger.reserve(
            self.wallet,
            quoted.amount,
            job=_job(request, quoted),
            project=self.project,
            key=key,
            ceiling=self.ceiling,
        )
        return self._told(reservation)

    def submit(self, reservation: Reservation, body: dict[str, Any]) -> Submission:
        """Send the job of a reservation, which is `submitting` on disk before the call.

        A submission that got no answer is sent again only where the provider knows a repeated key.
        Raises JobRefusedError, after rolling back if nothing was sent before, and JobInDoubtError.
        """
        is_first = reservation.state is State.RESERVED
        if is_first:
            self._told(self.ledger.mark_submitting(reservation.id))
        elif not self.provider.repeats_safely:
            problem = "an earlier submission got no answer, and a second one could be charged too"
            self._told(self.ledger.mark_in_doubt(reservation.id, problem))
            raise JobInDoubtError(self.provider.name, problem)
        try:
            submission = self.provider.submit(_action(reservation), body, key=reservation.id)
        except BaseException as error:
            self._told(self._not_submitted(reservation.id, error, is_first=is_first))
            raise
        self._told(self.ledger.mark_submitted(reservation.id, submission.task_id))
        return submission

    def follow(self, reservation_id: str) -> Reservation:
        """Ask for a job until it ends, nobody answers, or its longest life is over."""
        reservation = self.ledger.reservation(reservation_id)
        give_up_at = time.monotonic() + self.patience.longest_s
        unanswered = 0
        while reservation.is_open and reservation.task_id is not None:
            pause_s = self.patience.poll_every_s
            try:
                status = self.provider.poll(_action(reservation), reservation.task_id)
            except PollError as error:
                unanswered += 1
                if error.is_final or unanswered >= self.patience.failing_polls:
                    return reservation
            else:
                unanswered = 0
                reservation = self.observe(reservation, status)
                if status.state is TaskState.UNKNOWN or not reservation.is_open:
                    return reservation
                pause_s = max(pause_s, status.retry_after_s or 0)
            left_s = give_up_at - time.monotonic()
            if left_s <= 0:
                problem = f"no verdict within {self.patience.longest_s:g} s"
                return self._told(self.ledger.mark_in_doubt(reservation_id, problem))
            self.sleep(min(pause_s, left_s))
        return reservation

    def observe(self, reservation: Reservation, status: TaskStatus) -> Reservation:
        """Settle a reservation by what the provider says of its task; running changes nothing."""
        if status.state is TaskState.COMPLETED:
            return self._commit(reservation, status)
        if status.state is TaskState.FAILED:
            problem = status.problem or "the provider says that it failed"
            return self._told(self.ledger.roll_back(reservation.id, problem))
        if status.state is TaskState.UNKNOWN:
            problem = status.problem or "the provider's answer is not documented"
            return self._told(self.ledger.mark_in_doubt(reservation.id, problem))
        if reservation.state is State.IN_DOUBT and reservation.task_id is not None:
            return self._told(self.ledger.mark_submitted(reservation.id, reservation.task_id))
        return reservation

    def _not_submitted(
        self, reservation_id: str, error: BaseException, *, is_first: bool
    ) -> Reservation:
        """Roll back what was refused for certain; whatever else went wrong, it may be on its way.

        A refusal of a repeated submission says nothing of the first one, and Ctrl-C in the middle
        of a call says nothing at all.
        """
        problem = error.problem if isinstance(error, ProviderError) else type(error).__name__
        if is_first and isinstance(error, JobRefusedError):
            return self.ledger.roll_back(reservation_id, problem)
        return self.ledger.mark_in_doubt(reservation_id, problem)

    def _commit(self, reservation: Reservation, status: TaskStatus) -> Reservation:
        committed = self.ledger.commit(
            reservation.id,
            status.cost or reservation.amount,
            settled_by="provider" if status.cost else "quote",
            videos=status.videos,
            reason=status.problem,
        )
        return self._told(committed)

    def _told(self, reservation: Reservation) -> Reservation:
        self.on_change(reservation)
        return reservation


def _action(reservation: Reservation) -> str:
    return reservation.job.action or "text_to_video"


def _job(request: Request, quoted: Quote) -> Job:
    clip = request.clip
    return Job(
        provider=clip.provider,
        model=clip.model,
        action=clip.action,
        seconds=None if clip.seconds is None else str(clip.seconds),
        billed_seconds=None if quoted.billed_seconds is None else int(quoted.billed_seconds),
        resolution=clip.resolution,
        sound=clip.sound,
        usd=quoted.usd,
        quote=json.dumps({**quoted.as_dict(), "assumptions": list(request.assumptions)}),
        request=json.dumps(request.body, ensure_ascii=False),
        payload_hash=request.payload_hash,
    )
