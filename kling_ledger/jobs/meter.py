"""The meter: the one place where money and jobs meet.

quote -> reserve -> submitting (durable) -> submit -> submitted -> poll -> commit | roll back.
Nothing is sent without a reservation, and nothing comes back without a verdict: whoever gives up
waiting leaves the credits reserved.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from kling_ledger.clock import utc_now
from kling_ledger.config import SENDING_S
from kling_ledger.errors import (
    ConfigError,
    JobInDoubtError,
    JobRefusedError,
    NoAnswerError,
    PollError,
    ProviderError,
    StateError,
)
from kling_ledger.ledger import Asked, Job, Ledger, Reservation, State
from kling_ledger.ledger.reservations import quoted_job
from kling_ledger.providers.base import Provider, Submission, TaskState, TaskStatus
from kling_pricing.gateways import Request, read_request
from kling_pricing.library import Library
from kling_pricing.money import Money
from kling_pricing.quote import Quote


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a job, in seconds: `longest_s` is a job's longest life.

    `sender_s` is how long whoever is sending a job is left to it: longer than one call may take.
    """

    poll_every_s: float = 2.0
    longest_s: float = 900.0
    failing_polls: int = 5
    """After so many polls in a row without an answer the waiting ends; the job goes on."""
    sender_s: float = SENDING_S


def _silent(_: object) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Meter:
    """Runs jobs at one provider against one wallet. Safe to share between threads.

    Where a provider tells beforehand, for nothing, what a job will cost, it is asked unless
    `asks_estimate` is off. `on_change` is told of each new state of a reservation, `on_trouble` of
    each call that the provider refused or did not answer. What they raise is not the job's concern
    and is dropped.
    """

    ledger: Ledger
    provider: Provider
    wallet: str
    project: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    ceiling: Money | None = None
    asks_estimate: bool = True
    library: Library = field(default_factory=Library)
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
        """Bring an open reservation to its end: submit it if that is to do, then follow it.

        Where a submission cannot be repeated, whoever is sending it is waited for: its verdict may
        be the only one.
        """
        if reservation.state is State.SUBMITTING and not self.provider.repeats_safely:
            self._wait_for_the_sender(reservation.id)
            reservation = self.ledger.reservations.get(reservation.id)
        if reservation.is_open and reservation.task_id is None:
            try:
                self.submit(reservation, body)
            except ProviderError as error:
                self.tell_trouble(error)
            except StateError:
                self._wait_for_the_sender(reservation.id)
        return self.follow(reservation.id)

    def reserve(
        self, body: dict[str, Any], *, action: str | None = None, key: str | None = None
    ) -> Reservation:
        """Set aside what a request will cost: by the book or by a live estimate, if higher."""
        return self._told(self.ledger.reserve_many([self.asked(body, action=action, key=key)])[0])

    def asked(
        self, body: dict[str, Any], *, action: str | None = None, key: str | None = None
    ) -> Asked:
        """Quote a request; return the reservation that is to be asked for."""
        request = read_request(self.provider.name, body, action=action)
        self.provider.check(body)
        quoted = request.quote(at=self.clock(), book=self.library.book(self.provider.name))
        estimate = self._estimate(request, quoted) if self.asks_estimate else None
        return Asked(
            self.wallet,
            quoted.amount if estimate is None else max(quoted.amount, estimate),
            job=job_of(request, quoted, address=self.provider.address, estimate=estimate),
            project=self.project,
            labels=self.labels,
            key=key,
            ceiling=self.ceiling,
        )

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
        watch = Watch(self, self.ledger.reservations.get(reservation_id))
        while (pause_s := watch.ask()) is not None:
            self.sleep(pause_s)
        return watch.reservation

    def poll(self, reservation: Reservation) -> TaskStatus:
        """Ask once how the task of a reservation stands. Raises PollError, ConfigError."""
        self._check_address(reservation)
        return self.provider.poll(_action(reservation), reservation.task_id or "")

    def observe(self, reservation: Reservation, status: TaskStatus) -> Reservation:
        """Settle a reservation by what the provider says of its task; running changes nothing."""
        try:
            settled = self._settle(reservation, status)
        except StateError:
            # Another process has seen the end of the job first.
            return self.ledger.reservations.get(reservation.id)
        return settled if settled.state is reservation.state else self._told(settled)

    def _estimate(self, request: Request, quoted: Quote) -> Money | None:
        """Ask the provider what a request would cost; without an answer the book alone decides."""
        if not self.provider.facts.estimates:
            return None
        try:
            estimate = self.provider.estimate(request.clip.action, request.body).amount
        except NoAnswerError as error:
            self.tell_trouble(error)
            return None
        return estimate if estimate.unit == quoted.amount.unit else None

    def _begin(self, known: Reservation) -> Reservation:
        """Claim the sending of a job; whoever repeats one takes the verdict away from its sender.

        The first sender may roll back on a refusal only while the row is still `submitting`, so a
        row that is sent again is put in doubt before, and stays there until a task is known.
        """
        found = self.ledger.reservations.get(known.id)
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
            if self.ledger.reservations.get(reservation_id).task_id != task_id:
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
        longest_s = min(self.patience.longest_s, self.patience.sender_s)
        give_up_at = time.monotonic() + longest_s
        while (found := self.ledger.reservations.get(reservation_id)).state is State.SUBMITTING:
            age_s = (self.clock() - found.updated_at).total_seconds()
            if age_s >= longest_s or time.monotonic() >= give_up_at:
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
            videos_expire_at=status.videos_expire_at,
            problem=status.problem,
        )

    def give_up(self, reservation: Reservation, problem: str) -> Reservation:
        """Put an open job in doubt: nobody knows yet what became of it. Its credits stay."""
        try:
            return self._told(self.ledger.mark_in_doubt(reservation.id, problem))
        except StateError:
            return self.ledger.reservations.get(reservation.id)

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

    def tell_trouble(self, error: ProviderError) -> None:
        """Tell whoever listens that the provider refused or did not answer."""
        self._tell(self.on_trouble, error)

    @staticmethod
    def _tell(listener: Callable[[Any], None], news: object) -> None:
        # A listener that fails, such as a closed terminal, must not stop a job half-way.
        with suppress(Exception):
            listener(news)


class Watch:
    """One job that is asked for until it ends; `reservation` is how it stands.

    `error` is why the last time brought no answer, None if it did.
    """

    def __init__(self, meter: Meter, reservation: Reservation) -> None:
        self.reservation = reservation
        self.error: PollError | None = None
        self._meter = meter
        self._unanswered = 0
        self._give_up_at = time.monotonic() + meter.patience.longest_s

    def ask(self) -> float | None:
        """Ask once; return in how many seconds to ask again, None where asking is over."""
        if not self.reservation.is_open or self.reservation.task_id is None:
            return None
        patience = self._meter.patience
        pause_s = patience.poll_every_s
        try:
            status = self._meter.poll(self.reservation)
        except PollError as error:
            self._meter.tell_trouble(error)
            self.error = error
            self._unanswered += 1
            if error.is_final or self._unanswered >= patience.failing_polls:
                return None
            asked_s = error.retry_after_s
        else:
            self.error = None
            self._unanswered = 0
            self.reservation = self._meter.observe(self.reservation, status)
            if status.state is TaskState.UNKNOWN or not self.reservation.is_open:
                return None
            asked_s = status.retry_after_s
        return self._until_next(max(pause_s, asked_s or 0))

    def _until_next(self, pause_s: float) -> float | None:
        left_s = self._give_up_at - time.monotonic()
        if left_s > 0:
            return min(pause_s, left_s)
        problem = f"no verdict within {self._meter.patience.longest_s:g} s"
        self.reservation = self._meter.give_up(self.reservation, problem)
        return None


def _action(reservation: Reservation) -> str:
    return reservation.job.action or "text_to_video"


def job_of(
    request: Request,
    quoted: Quote,
    *,
    address: str | None = None,
    estimate: Money | None = None,
) -> Job:
    """Return what a reservation keeps of a request, its quote and the provider's own estimate."""
    told = {**quoted.as_dict(), "assumptions": list(request.assumptions)}
    if estimate is not None:
        told["live_estimate"] = str(estimate)
    return replace(
        quoted_job(quoted),
        usd=_worth(quoted, estimate),
        quote=json.dumps(told),
        request=json.dumps(request.body, ensure_ascii=False),
        payload_hash=request.payload_hash,
        address=address,
    )


def _worth(quoted: Quote, estimate: Money | None) -> Money | None:
    """Return what is set aside in US dollars, at the rate of the quote; None if none is known."""
    if estimate is None or estimate <= quoted.amount:
        return quoted.usd
    return quoted.in_usd(estimate.amount)
