"""The meter: the one place where money and jobs meet.

quote -> reserve -> submitting (durable) -> submit -> submitted -> poll -> commit | roll back.
Nothing is sent without a reservation, and no credits are returned without a known outcome: after a
time-out they stay reserved.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from threading import Event
from typing import Any

from kling_ledger.config import actor, utc_now
from kling_ledger.errors import NoAnswerError, ProviderError, StateError
from kling_ledger.jobs.approving import approved
from kling_ledger.jobs.listeners import Listeners, log
from kling_ledger.jobs.places import Place, place_of
from kling_ledger.jobs.quoting import (
    Quoted,
    body_of,
    held_for,
    job_of,
    live_job_of,
    live_note,
    quoted_by,
)
from kling_ledger.jobs.settling import Settler
from kling_ledger.jobs.submitting import Submitter, action_of
from kling_ledger.jobs.watch import Patience, Watch, followed
from kling_ledger.ledger import Asked, Job, Ledger, Reservation, State
from kling_ledger.providers.base import Provider, Submission, TaskStatus
from kling_pricing.errors import NoPriceError
from kling_pricing.gateways import Request, read_request
from kling_pricing.library import Library, at_hand
from kling_pricing.money import Money
from kling_pricing.quote import Quote


def _silent(_: object) -> None:
    """Report nothing."""


@dataclass(frozen=True, slots=True)
class Meter:
    """Runs jobs at one provider against one wallet. Safe to share between threads.

    If a provider gives free estimates, it is asked for one unless `asks_estimate` is off. Jobs
    without a book price are held at that estimate, which `on_note` reports. `on_change` is called
    for each new state of a reservation, `on_trouble` for each call that the provider refused or did
    not answer. Their exceptions are logged and do not affect the job. Once `stop` is set all
    waiting ends: jobs are unchanged. A job above `approve_above` is reserved only once a person has
    approved it.
    """

    ledger: Ledger
    provider: Provider
    wallet: str
    project: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    ceiling: Money | None = None
    asks_estimate: bool = True
    library: Library = field(default_factory=at_hand)
    patience: Patience = field(default_factory=Patience)
    on_change: Callable[[Reservation], None] = _silent
    on_trouble: Callable[[ProviderError], None] = _silent
    on_note: Callable[[str], None] = _silent
    clock: Callable[[], datetime] = utc_now
    stop: Event = field(default_factory=Event)
    account: str | None = None
    approve_above: Money | None = None

    @property
    def place(self) -> Place:
        """Where its jobs run: the provider, its address, and the account whose key is used.

        Raises AccountError if the key does not belong to the named account.
        """
        return place_of(self.ledger, self.provider, self.account)

    def run(
        self, body: dict[str, Any], *, action: str | None = None, key: str | None = None
    ) -> Reservation:
        """Run one request to its end and return its reservation, however the job ended.

        The reservation is `committed`, `rolled_back`, or still open if the outcome is unknown. With
        a key that was already used, the same job is followed, and none is started. Raises
        RequestError, NoPriceError or RefusedError before anything is sent.
        """
        return self.carry_on(self.reserve(body, action=action, key=key), body)

    def carry_on(self, reservation: Reservation, body: dict[str, Any]) -> Reservation:
        """Bring an open reservation to its end: submit it if that is to do, then follow it.

        If a submission cannot be repeated, wait for the process that is sending it: its answer may
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
        """Reserve the cost of a request: the book's price, or a live estimate if higher."""
        return self.reserve_asked(self.asked(body, action=action, key=key))

    def reserve_asked(self, asked: Asked) -> Reservation:
        """Reserve what was asked, once a person has approved it if needed."""
        return self._listeners.tell_change(self.ledger.reserve_many([self.approved(asked)])[0])

    def approved(self, asked: Asked) -> Asked:
        """Return a job as it may be reserved. Raises ApprovalNeededError, ApprovalDeniedError."""
        if self.approve_above is None:
            return asked
        return approved(self.ledger, asked, above=self.approve_above, asked_by=actor())

    def asked(
        self, body: dict[str, Any], *, action: str | None = None, key: str | None = None
    ) -> Asked:
        """Quote a request; return the reservation to ask for."""
        request = read_request(self.provider.name, body, action=action)
        self.provider.check(body)
        at = self.clock()
        quoted = quoted_by(self.library.book(self.provider.name), request, at)
        if isinstance(quoted, Quote):
            estimate = self.estimate(request, unit=quoted.unit)
        else:
            estimate = self._unpriced(request, quoted, key)
        return Asked(
            self.wallet,
            held_for(quoted, estimate),
            job=self._job(request, quoted, estimate, at),
            project=self.project,
            labels=self.labels,
            key=key,
            ceiling=self.ceiling,
        )

    def estimate(self, request: Request, *, unit: str | None = None) -> Money | None:
        """Return the provider's estimate of a request; None if it gives none, or is not asked.

        Without an answer, or with one in another unit than the provider's own, or `unit`, the book
        alone decides.
        """
        if not (self.asks_estimate and self.provider.facts.estimates):
            return None
        try:
            estimate = self.provider.estimate(request.clip.action, request.sent).amount
        except NoAnswerError as error:
            self.tell_trouble(error)
            return None
        return estimate if estimate.unit == (unit or self.provider.facts.unit) else None

    def submit(self, reservation: Reservation, body: dict[str, Any]) -> Submission:
        """Send the job of a reservation, which is `submitting` on disk before the call.

        The reservation's body is sent: the requested one, with the documented defaults of omitted
        options. A submission without an answer is repeated only if the provider recognises repeated
        keys. Raises JobRefusedError, after rolling back if nothing was sent before;
        JobInDoubtError; and StateError, before anything is sent, if the reservation has ended or
        another process is sending it.
        """
        self.place.check(reservation)
        submitter = Submitter(self.ledger, self.provider, self._listeners, self.ceiling)
        return submitter.submit(reservation, body_of(reservation, body))

    def follow(self, reservation_id: str) -> Reservation:
        """Poll a job until it ends, the provider stops answering, or its longest life is over."""
        watch = Watch(self, self.ledger.reservations.get(reservation_id))
        for _ in followed([watch], stop=self.stop):
            pass
        return watch.reservation

    def poll(self, reservation: Reservation, *, is_patient: bool = True) -> TaskStatus:
        """Poll the task of a reservation. Raises PollError, ConfigError.

        An unanswered poll is repeated a few times, unless `is_patient` is off.
        """
        self.place.check(reservation)
        return self.provider.poll(
            action_of(reservation), reservation.task_id or "", is_patient=is_patient
        )

    def observe(self, reservation: Reservation, status: TaskStatus) -> Reservation:
        """Settle a reservation by the provider's answer; a running task changes nothing."""
        settler = Settler(self.ledger, self._listeners, self.ceiling)
        return settler.observe(reservation, status)

    def give_up(self, reservation: Reservation, problem: str) -> Reservation:
        """Put an open job in doubt: its outcome is unknown, and its credits stay reserved."""
        return Settler(self.ledger, self._listeners).give_up(reservation, problem)

    def tell_trouble(self, error: ProviderError) -> None:
        """Report to the listener that the provider refused or did not answer."""
        self._listeners.tell_trouble(error)

    @property
    def _listeners(self) -> Listeners:
        return Listeners(self.on_change, self.on_trouble)

    def _job(self, request: Request, quoted: Quoted, estimate: Money | None, at: datetime) -> Job:
        if isinstance(quoted, Quote):
            return job_of(request, quoted, place=self.place, estimate=estimate)
        book, held = self.library.book(self.provider.name), held_for(quoted, estimate)
        return live_job_of(request, quoted, held, book=book, at=at, place=self.place)

    def _unpriced(self, request: Request, error: NoPriceError, key: str | None) -> Money:
        """Return the provider's estimate of a request without a book price, and report it.

        If the key already has a reservation, no estimate is needed: the job continues.
        """
        before = None if key is None else self.ledger.reservations.of_keys([key]).get(key)
        if before is not None:
            return before.amount
        estimate = held_for(error, self.estimate(request))
        note = live_note(request, error, estimate)
        log.info("%s", note)
        self.on_note(note)
        return estimate

    def _wait_for_the_sender(self, reservation_id: str) -> None:
        """Wait while another caller sends the job, for as long as one call may take."""
        longest_s = min(self.patience.longest_s, self.patience.sender_s)
        give_up_at = time.monotonic() + longest_s
        while (found := self.ledger.reservations.get(reservation_id)).state is State.SUBMITTING:
            age_s = (self.clock() - found.updated_at).total_seconds()
            if age_s >= longest_s or time.monotonic() >= give_up_at:
                return
            if self.stop.wait(self.patience.poll_every_s):
                return
