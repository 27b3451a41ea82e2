"""The meter: the one place where money and jobs meet.

quote -> reserve -> submitting (durable) -> submit -> submitted -> poll -> commit | roll back.
Nothing is sent without a reservation, and nothing comes back without a verdict: whoever gives up
waiting leaves the credits reserved.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from kling_ledger.errors import (
    ConfigError,
    JobInDoubtError,
    JobRefusedError,
    PollError,
    ProviderError,
    StateError,
)
from kling_ledger.ledger import Job, Ledger, Reservation, State, utc_now
from kling_ledger.providers.base import Provider, Submission, TaskState, TaskStatus
from kling_pricing.money import Money
from kling_pricing.quote import Quote
from kling_pricing.requests import Request, read_request

_LONGEST_CALL_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a job, in seconds: `longest_s` is a job's longest life."""

    poll_every_s: float = 2.0
    longest_s: float = 900.0
    failing_polls: int = 5
    """After so many polls in a row without an answer the waiting ends; the job goes on."""


def _silent(_: object) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Meter:
    """Runs jobs at one provider against one wallet. Safe to share between threads.

    `on_change` is told of each new state of a reservation, `on_trouble` of each call that the
    provider refused or did not answer. What they raise is not the job's concern and is dropped.
    """

    ledger: Ledger
    provider: Provider
    wallet: str
    project: str | None = None
    ceiling: Money | None = None
    patience: Patience = field(default_factory=Patience)
    on_change: Callable[[Reservation], None] = _silent
    on_trouble: Callable[[ProviderError], None] = _silent
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
            except ProviderError as error:
                self._tell(self.on_trouble, error)
            except StateError:
                self._wait_for_the_sender(reservation.id)
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
            job=_job(request, quoted, self.provider.address),
            project=self.project,
            key=key,
            ceiling=self.ceiling,
        )
        return self._told(reservation)

    def submit(self, reservation: Reservation, body: dict[str, Any]) -> Submission:
        """Send the job of a reservation, which is `submitting` on disk before the call.

        A submission that got no answer is sent again only where the provider knows a repeated key.
        Raises JobRefusedError, after rolling back if nothing was sent before; JobInDoubtError; and
        StateError, before anything is sent, where the reservation has ended or somebody sends it.
        """
        begun = self._begin(reservation)
        try:
            submission = self.provider.submit(_action(begun), body, key=begun.id)
        except BaseException as error:
            self._not_submitted(begun, error)
            raise
        self._submitted(begun.id, submission.task_id)
        return submission

    def follow(self, reservation_id: str) -> Reservation:
        """Ask for a job until it ends, nobody answers, or its longest life is over."""
        reservation = self.ledger.reservation(reservation_id)
        give_up_at = time.monotonic() + self.patience.longest_s
        unanswered = 0
        while reservation.is_open and reservation.task_id is not None:
            self._check_address(reservation)
            pause_s = self.patience.poll_every_s
            try:
                status = self.provider.poll(_action(reservation), reservation.task_id)
            except PollError as error:
                self._tell(self.on_trouble, error)
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
                return self._in_doubt(reservation, problem)
            self.sleep(min(pause_s, left_s))
        return reservation

    def observe(self, reservation: Reservation, status: TaskStatus) -> Reservation:
        """Settle a reservation by what the provider says of its task; running changes nothing."""
        try:
            settled = self._settle(reservation, status)
        except StateError:
            # Another process has seen the end of the job first.
            return self.ledger.reservation(reservation.id)
        return settled if settled.state is reservation.state else self._told(settled)

    def _begin(self, known: Reservation) -> Reservation:
        """Claim the sending of a job; whoever repeats one takes the verdict away from its sender.

        The first sender may roll back on a refusal only while the row is still `submitting`, so a
        row that is sent again is put in doubt before, and stays there until a task is known.
        """
        found = self.ledger.reservation(known.id)
        self._check_address(found)
        if known.state is State.RESERVED:
            return self._told(self.ledger.mark_submitting(known.id))
        if not found.is_open or found.task_id is not None:
            raise StateError(known.id, state=found.state, change="submitted")
        repeats = self.provider.repeats_safely
        problem = "its submission got no answer yet" + (
            "" if repeats else ", and a second one could be charged too"
        )
        doubtful = self._told(self.ledger.mark_in_doubt(known.id, problem))
        if not repeats:
            raise JobInDoubtError(self.provider.name, problem)
        return doubtful

    def _submitted(self, reservation_id: str, task_id: str) -> None:
        try:
            self._told(self.ledger.mark_submitted(reservation_id, task_id))
        except StateError:
            # It ended while the request was under way: the task is kept, it may yet be charged.
            self.ledger.record_task(reservation_id, task_id)
            if self.ledger.reservation(reservation_id).task_id != task_id:
                raise

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
            self._told(end(begun.id, problem, only_from=State.SUBMITTING))

    def _wait_for_the_sender(self, reservation_id: str) -> None:
        """Wait while another caller sends the job, for as long as one call may take."""
        give_up_at = time.monotonic() + min(self.patience.longest_s, _LONGEST_CALL_S)
        while self.ledger.reservation(reservation_id).state is State.SUBMITTING:
            if time.monotonic() >= give_up_at:
                return
            self.sleep(self.patience.poll_every_s)

    def _settle(self, reservation: Reservation, status: TaskStatus) -> Reservation:
        has_failed = status.state is TaskState.FAILED
        was_charged = status.cost is not None and status.cost.micro > 0
        if status.state is TaskState.COMPLETED or (has_failed and was_charged):
            return self._commit(reservation, status)
        if has_failed:
            problem = status.problem or "the provider says that it failed"
            return self.ledger.roll_back(reservation.id, problem)
        if status.state is TaskState.UNKNOWN:
            problem = status.problem or "the provider's answer is not documented"
            return self.ledger.mark_in_doubt(reservation.id, problem)
        if reservation.state is State.IN_DOUBT and reservation.task_id is not None:
            return self.ledger.mark_submitted(reservation.id, reservation.task_id)
        return reservation

    def _commit(self, reservation: Reservation, status: TaskStatus) -> Reservation:
        return self.ledger.commit(
            reservation.id,
            status.cost or reservation.amount,
            settled_by="provider" if status.cost else "quote",
            videos=status.videos,
            problem=status.problem,
        )

    def _in_doubt(self, reservation: Reservation, problem: str) -> Reservation:
        try:
            return self._told(self.ledger.mark_in_doubt(reservation.id, problem))
        except StateError:
            return self.ledger.reservation(reservation.id)

    def _check_address(self, reservation: Reservation) -> None:
        """Refuse to ask one place for a job that another one took: a sandbox, say."""
        address = reservation.job.address
        if address not in {None, self.provider.address}:
            raise ConfigError(
                f"reservation {reservation.id} belongs to {address}, not {self.provider.address}",
                hint=f"give --base-url {address}",
            )

    def _told(self, reservation: Reservation) -> Reservation:
        self._tell(self.on_change, reservation)
        return reservation

    @staticmethod
    def _tell(listener: Callable[[Any], None], news: object) -> None:
        # A listener that fails, such as a closed terminal, must not stop a job half-way.
        with suppress(Exception):
            listener(news)


def _action(reservation: Reservation) -> str:
    return reservation.job.action or "text_to_video"


def _job(request: Request, quoted: Quote, address: str) -> Job:
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
        address=address,
    )
