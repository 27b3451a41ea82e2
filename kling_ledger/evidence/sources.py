"""Sources: where a provider's record is read, and the lines that comparing it comes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from kling_ledger.errors import ConfigError
from kling_ledger.evidence.entries import Entry
from kling_ledger.evidence.missing import LAG_S, only_ours, only_theirs, too_many
from kling_ledger.evidence.plan import Line, Verdict, compare
from kling_ledger.evidence.reading import Answers, read_bill
from kling_ledger.evidence.record import Record
from kling_ledger.ledger import Ledger, Reservation
from kling_ledger.providers.registry import provider_facts


@dataclass(frozen=True, slots=True)
class BillFile:
    """A bill of one account: its file, what a person said of its form, and what it covers.

    `missing` is how many jobs a person says that it misses.
    """

    path: Path
    account: str
    address: str
    answers: Answers
    is_complete: bool = False
    lag_s: float = LAG_S
    missing: int | None = None


@dataclass(frozen=True, slots=True)
class Compared:
    """What comparing a bill came to: its lines, its rows, and notes for the person.

    `missing` is how many jobs would be given back, where a person has to say so first. With
    `has_unzoned_times` nobody knows when some charges were made. `unlisted` are our tasks of which
    a complete bill has no row.
    """

    lines: list[Line]
    entries: tuple[Entry, ...] = ()
    notes: tuple[str, ...] = ()
    missing: int | None = None
    has_unzoned_times: bool = False
    unlisted: tuple[str, ...] = ()

    def proposed(self) -> list[Line]:
        """Return the lines whose changes may be made now."""
        if self.missing is None:
            return self.lines
        return [one for one in self.lines if one.verdict is not Verdict.NEVER_CHARGED]


def compare_bill(
    ledger: Ledger,
    provider: str,
    bill: BillFile,
    *,
    now: datetime,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Compared:
    """Compare a bill of an account with our jobs of that account.

    `since` (inclusive) and `until` (exclusive) bound the jobs. Raises ConfigError for a bill that
    cannot be read, for one that is complete up to an instant to come, and BillQuestionError where
    only a person can say how it is to be read.
    """
    if bill.is_complete and until is not None and until > now:
        raise ConfigError(
            f"no bill is complete up to {until:%Y-%m-%d %H:%M} UTC, which is still to come",
            hint="end it where the bill ends",
        )
    ours = ledger.reservations.at_provider(provider, since=since, until=until)
    everywhere = ledger.reservations.at_provider(provider)
    read = read_bill(
        bill.path,
        unit=provider_facts(provider).unit,
        known_tasks={one.task_id for one in everywhere if one.task_id is not None},
        answers=bill.answers,
    )
    record = Record(
        provider,
        bill.account,
        bill.path.name,
        read.entries,
        earlier=tuple(ledger.evidence.entries(provider, bill.account)),
        address=bill.address,
        is_complete=bill.is_complete,
        is_itemised=read.is_itemised,
        has_unzoned_times=read.has_unzoned_times,
        is_cut_off=read.total_differs,
        since=since,
        until=until,
        is_only_account={*ledger.accounts.of_jobs(provider)} <= {bill.account},
    )
    lines, missing = _lines(record, ours, everywhere, bill, now=now)
    named = {one.task_id for one in read.entries}
    unlisted = tuple(
        one.task_id
        for one in ours
        if one.task_id is not None and one.task_id not in named and record.covers(one)
        if record.is_of(one)
    )
    return Compared(lines, read.entries, read.notes, missing, read.has_unzoned_times, unlisted)


def _lines(
    record: Record,
    ours: Sequence[Reservation],
    everywhere: Sequence[Reservation],
    bill: BillFile,
    *,
    now: datetime,
) -> tuple[list[Line], int | None]:
    """Compare, and tell what only one side has."""
    named = {one.task_id for one in record.entries if one.task_id is not None}
    known = {one.id for one in ours}
    # A bill lists charges by their own dates, not by ours.
    late = [one for one in everywhere if one.id not in known and one.task_id in named]
    elsewhere = [one for one in everywhere if one.task_id in named and not record.may_be_of(one)]
    lines, matched, unclaimed = compare(record, [*ours, *late], elsewhere)
    lines.extend(only_theirs(unclaimed, matched.rest))
    lines.extend(only_ours(record, matched.rest, unclaimed, now=now, lag_s=bill.lag_s))
    return lines, too_many(lines, said=bill.missing)
