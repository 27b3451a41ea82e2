"""The jobs of a batch: what each row requests, under which key, and what is left to do.

A job's key is derived from its content, so that a repeated batch continues where it stopped.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from kling_ledger.jobs import endings
from kling_ledger.jobs.quoting import Quoted, held_for
from kling_ledger.ledger import Ledger, Reservation, State
from kling_pricing.errors import KlingError
from kling_pricing.gateways import Request
from kling_pricing.money import Money
from kling_pricing.quote import Quote


@dataclass(frozen=True, slots=True)
class BatchJob:
    """One row of a batch: what it requests from which provider, under which key.

    `place` is its row, from 1. `key` is the caller's own, or derived from the content, and from the
    place where the job runs once the batch is about to run. If no book has a price, `quote` is the
    error that says so, and `estimate` is the provider's own figure once it was asked.
    """

    place: int
    request: Request
    quote: Quoted
    key: str
    project: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    has_own_key: bool = False
    estimate: Money | None = None

    @property
    def cost(self) -> Money:
        """Its cost by the book, otherwise by its provider; NoPriceError without either.

        If the seller publishes two figures, more may be held: its estimate at submission decides.
        """
        if isinstance(self.quote, Quote):
            return self.quote.amount
        return held_for(self.quote, self.estimate)

    @property
    def quoted(self) -> Money | None:
        """The highest cost by the book; None if the book has no price."""
        return self.quote.amount if isinstance(self.quote, Quote) else None

    @property
    def provider(self) -> str:
        """Who makes the clip."""
        return self.request.clip.provider


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a job, by its number: each attempt has a reservation of its own."""

    job: BatchJob
    number: int = 1

    @property
    def key(self) -> str:
        """The key of its reservation."""
        return self.job.key if self.number == 1 else f"{self.job.key}/again-{self.number}"

    @property
    def next(self) -> Attempt:
        """The attempt to make if this one fails."""
        return replace(self, number=self.number + 1)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The state of a job so far; `error` is why it was not started or its result is unknown.

    `is_running`: a batch is still working on it.
    """

    attempt: Attempt
    reservation: Reservation | None = None
    error: KlingError | None = None
    is_running: bool = False

    @property
    def job(self) -> BatchJob:
        """The job that it is about."""
        return self.attempt.job

    @property
    def is_done(self) -> bool:
        """Whether the job was charged and has made something, as far as its provider says."""
        return self.reservation is not None and endings.is_done(self.reservation)

    @property
    def is_charged_without_clip(self) -> bool:
        """Whether the job is over, was charged and made nothing."""
        found = self.reservation
        return found is not None and endings.is_charged_without_clip(found)

    @property
    def is_open(self) -> bool:
        """Whether credits are still set aside for the job."""
        return self.reservation is not None and self.reservation.is_open

    def is_to_do(self, *, retries_failed: bool) -> bool:
        """Whether another run has anything to do: follow the job, or try it again.

        A job that no provider accepted made nothing and cost nothing. One that a provider accepted
        and failed is tried again only with `retries_failed`.
        """
        found = self.reservation
        if found is None or found.is_open:
            return True
        if found.state is State.COMMITTED:
            return False
        return retries_failed or found.task_id is None


def content_keys(name: str, rows: Iterable[tuple[Request, str | None, str | None]]) -> list[str]:
    """Return a key for each row of a batch: its own, or one derived from its content.

    Rows are a request, a project and a caller's own key. A row that repeats another one's content
    is a job of its own: its key gets a number.
    """
    seen: Counter[str] = Counter()
    keys = []
    for request, project, own in rows:
        clip = request.clip
        content = json.dumps([clip.provider, clip.action, request.payload_hash, project])
        key = own or f"batch/{name}/{hashlib.sha256(content.encode()).hexdigest()[:20]}"
        seen[key] += 1
        keys.append(key if own or seen[key] == 1 else f"{key}/{seen[key]}")
    return keys


def known_outcomes(ledger: Ledger, jobs: Iterable[BatchJob]) -> dict[int, Outcome]:
    """Return the last known attempt of each job that was started before, by its place."""
    known: dict[int, Outcome] = {}
    asked = [Attempt(job) for job in jobs]
    while asked:
        found = ledger.reservations.of_keys([one.key for one in asked])
        tried = [one for one in asked if one.key in found]
        known.update({one.job.place: Outcome(one, found[one.key]) for one in tried})
        asked = [one.next for one in tried if not found[one.key].is_open]
    return known


def attempts_to_do(
    jobs: Iterable[BatchJob], known: Mapping[int, Outcome], *, retries_failed: bool = False
) -> list[Attempt]:
    """Return the attempts left to make: jobs in flight first, then the others in their order."""
    in_flight, others = [], []
    for job in jobs:
        before = known.get(job.place)
        if before is None:
            others.append(Attempt(job))
        elif before.is_open:
            in_flight.append(before.attempt)
        elif before.is_to_do(retries_failed=retries_failed):
            others.append(before.attempt.next)
    return in_flight + others
