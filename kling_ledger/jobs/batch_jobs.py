"""The jobs of a batch: what each row asks for, under which key, and what is left to do of them.

A job's key is derived from its content, so the same batch continues where it stopped.
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
    """One row of a batch: what is asked of which provider, under which key.

    `place` is its row, from 1; `key` is the caller's own or follows from the content, and of a
    batch that is about to run from where it runs too. Where no book has a price, `quote` is the
    error that says so, and `estimate` what the provider itself says, once it was asked.
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
        """What it will cost by the book, else by its provider; NoPriceError where neither says.

        Where a seller has two figures more may be held: its estimate decides when a job is sent.
        """
        if isinstance(self.quote, Quote):
            return self.quote.amount
        return held_for(self.quote, self.estimate)

    @property
    def quoted(self) -> Money | None:
        """What the book says that it costs at most; None where it has no price."""
        return self.quote.amount if isinstance(self.quote, Quote) else None

    @property
    def provider(self) -> str:
        """Who makes the clip."""
        return self.request.clip.provider


@dataclass(frozen=True, slots=True)
class Attempt:
    """A job and how often it is tried with this: each attempt has a reservation of its own."""

    job: BatchJob
    number: int = 1

    @property
    def key(self) -> str:
        """What its reservation is known by."""
        return self.job.key if self.number == 1 else f"{self.job.key}/again-{self.number}"

    @property
    def next(self) -> Attempt:
        """The attempt after this one came to nothing."""
        return replace(self, number=self.number + 1)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job so far; `error` is why it was not started or is not known.

    `is_running` says that a batch is still at it.
    """

    attempt: Attempt
    reservation: Reservation | None = None
    error: KlingError | None = None
    is_running: bool = False

    @property
    def job(self) -> BatchJob:
        """The job that this became of."""
        return self.attempt.job

    @property
    def is_done(self) -> bool:
        """Whether the job was charged and has made something, as far as its provider tells."""
        return self.reservation is not None and endings.is_done(self.reservation)

    @property
    def is_charged_without_clip(self) -> bool:
        """Whether the job is over, has cost something and made nothing."""
        found = self.reservation
        return found is not None and endings.is_charged_without_clip(found)

    @property
    def is_open(self) -> bool:
        """Whether credits are still set aside for the job."""
        return self.reservation is not None and self.reservation.is_open

    def is_to_do(self, *, retries_failed: bool) -> bool:
        """Whether another run has something to do: follow it, or try again what came to nothing.

        What no provider ever took made nothing and cost nothing. What one took, and failed with,
        is tried again only where that is asked for.
        """
        found = self.reservation
        if found is None or found.is_open:
            return True
        if found.state is State.COMMITTED:
            return False
        return retries_failed or found.task_id is None


def content_keys(name: str, rows: Iterable[tuple[Request, str | None, str | None]]) -> list[str]:
    """Return a key for each row of a batch: its own, or one that follows from its content.

    Rows are a request, a project and a caller's own key. The same content again in one batch is
    another job: it counts up.
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
    """Return what is known of jobs that were started before, by their place: the last attempt."""
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
    """Return what is left to do of jobs: those in flight first, then the others in their order."""
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
