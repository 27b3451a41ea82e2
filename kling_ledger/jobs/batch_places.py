"""Where a batch runs: keys include the place and the wallet, so a rehearsal is not the real run.

What was made before, under another key or at another place, is reported before money moves.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from kling_ledger.jobs.batch_jobs import BatchJob, Outcome
from kling_ledger.jobs.places import Place
from kling_ledger.ledger import Ledger, Reservation, State

LOOKED_BACK: Final = timedelta(days=30)
"""How far back to look for jobs with the same content."""

_Content = tuple[str | None, str | None, str | None]


@dataclass(frozen=True, slots=True)
class Earlier:
    """What earlier runs made of the rows that a batch is about to begin.

    `made` counts the rows already made at the same place under another key; `elsewhere` counts the
    rows begun at other addresses, by address.
    """

    made: int
    elsewhere: Mapping[str, int]


def placed(
    ledger: Ledger, jobs: Sequence[BatchJob], places: Mapping[str, Place], wallet: str
) -> list[BatchJob]:
    """Return jobs with keys that include the place where they run and the wallet that pays.

    A caller's own key stays. So does a key without a place, from an older ledger, if its job is at
    this place.
    """
    moved = [_at(job, places[job.provider], wallet) for job in jobs]
    found = ledger.reservations.of_keys([job.key for job in jobs])
    new = ledger.reservations.of_keys([job.key for job in moved])
    return [
        before
        if now.key not in new and _is_here(found.get(before.key), places[before.provider], wallet)
        else now
        for before, now in zip(jobs, moved, strict=True)
    ]


def earlier(
    ledger: Ledger,
    jobs: Iterable[BatchJob],
    known: Mapping[int, Outcome],
    places: Mapping[str, Place],
    *,
    at: datetime,
) -> Earlier:
    """Look for recent jobs with the content of rows that are not known under their own keys."""
    new = [job for job in jobs if job.place not in known and not job.has_own_key]
    made: Counter[_Content] = Counter()
    begun: dict[str, Counter[_Content]] = {}
    for provider in {job.provider for job in new}:
        since = at - LOOKED_BACK
        found = ledger.reservations.at_provider(provider, since=since, until=None)
        # Read last: another process may have begun some of this batch in the meantime.
        ours = _ours(ledger, new, known)
        for one in found:
            if one.id in ours:
                continue
            content = (provider, one.job.action, one.job.payload_hash)
            if places[provider].has(one):
                made[content] += one.state is State.COMMITTED
            elif one.job.address not in {None, places[provider].address}:
                begun.setdefault(str(one.job.address), Counter())[content] += 1
    wanted = Counter(_content(job) for job in new)
    return Earlier(
        (wanted & made).total(),
        {address: (wanted & counts).total() for address, counts in begun.items()},
    )


def _at(job: BatchJob, place: Place, wallet: str) -> BatchJob:
    if job.has_own_key:
        return job
    where = json.dumps([place.address, place.account, wallet])
    return replace(job, key=f"{job.key}/at-{hashlib.sha256(where.encode()).hexdigest()[:12]}")


def _is_here(found: Reservation | None, place: Place, wallet: str) -> bool:
    """Whether a job under an older key is this one; details that were not recorded do not count.

    A job that was paid for must not be paid for twice because little was recorded about it.
    """
    if found is None:
        return False
    told = (found.job.address, place.address), (found.job.account, place.account)
    return found.wallet == wallet and all(stored in {None, here} for stored, here in told)


def _ours(ledger: Ledger, new: Iterable[BatchJob], known: Mapping[int, Outcome]) -> set[str]:
    begun = ledger.reservations.of_keys([job.key for job in new]).values()
    before = (one.reservation for one in known.values())
    return {one.id for one in (*begun, *before) if one is not None}


def _content(job: BatchJob) -> _Content:
    return job.provider, job.request.clip.action, job.request.payload_hash
