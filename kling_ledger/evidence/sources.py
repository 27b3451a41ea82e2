"""Sources: reading a provider's bill, and comparing it with our journal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from kling_ledger.errors import ConfigError
from kling_ledger.evidence.entries import Entry
from kling_ledger.evidence.missing import LAG_S, only_ours, only_theirs, too_many
from kling_ledger.evidence.plan import Line, Verdict, compare
from kling_ledger.evidence.reading import Answers, Bill, read_bill
from kling_ledger.evidence.record import Record
from kling_ledger.ledger import Ledger, Reservation, State
from kling_ledger.providers.registry import provider_facts


@dataclass(frozen=True, slots=True)
class BillFile:
    """A bill of one account: its file, what a person said about its form, and what it covers.

    `missing` is the number of jobs that a person expects to be missing from it.
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
    """The result of comparing a bill: its lines, its rows, and notes for the person.

    `missing` is how many jobs would be given back, if a person has to confirm that first.
    `has_unzoned_times`: the times of some charges are unknown. `unlisted` are our tasks without a
    row in a complete bill. `not_confirmed` are the charged jobs whose cost neither this bill nor an
    earlier report of the provider confirms.
    """

    lines: list[Line]
    entries: tuple[Entry, ...] = ()
    notes: tuple[str, ...] = ()
    missing: int | None = None
    has_unzoned_times: bool = False
    unlisted: tuple[str, ...] = ()
    not_confirmed: tuple[Reservation, ...] = ()

    def proposed(self) -> list[Line]:
        """Return the lines whose changes may be made now."""
        if self.missing is None:
            return self.lines
        return [one for one in self.lines if one.verdict is not Verdict.NEVER_CHARGED]


def read(ledger: Ledger, provider: str, file: BillFile) -> Bill:
    """Read a bill; the tasks in our journal show which of its columns holds tasks.

    Raises ConfigError for a file that cannot be read, and BillQuestionError if only a person can
    decide how to read it.
    """
    return read_bill(
        file.path,
        unit=provider_facts(provider).unit,
        known_tasks=ledger.reservations.tasks_at(provider),
        answers=file.answers,
    )


def compare_bill(
    ledger: Ledger,
    provider: str,
    file: BillFile,
    bill: Bill,
    *,
    now: datetime,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Compared:
    """Compare a bill of an account with our jobs on that account.

    `since` (inclusive) and `until` (exclusive) bound the jobs. Raises ConfigError for a bill that
    is said to be complete up to a future instant.
    """
    if file.is_complete and until is not None and until > now:
        raise ConfigError(
            f"no bill can be complete up to {until:%Y-%m-%d %H:%M} UTC: that is in the future",
            hint="end the period where the bill ends",
        )
    record = Record(
        provider,
        file.account,
        file.path.name,
        bill.entries,
        earlier=tuple(ledger.evidence.entries(provider, file.account)),
        address=file.address,
        is_complete=file.is_complete,
        is_itemised=bill.is_itemised,
        has_unzoned_times=bill.has_unzoned_times,
        is_cut_off=bill.total_differs,
        since=since,
        until=until,
        is_only_account={*ledger.accounts.of_jobs(provider)} <= {file.account},
    )
    everywhere = ledger.reservations.at_provider(provider)
    named = {one.task_id for one in record.entries if one.task_id is not None}
    lines = _lines(record, everywhere, named, now=now, lag_s=file.lag_s)
    ours = (one for one in everywhere if record.is_of_its_time(one) and record.is_of(one))
    return Compared(
        lines,
        bill.entries,
        bill.notes,
        too_many(lines, said=file.missing),
        bill.has_unzoned_times,
        tuple(_unlisted(record, everywhere, named)),
        not_confirmed(ours, lines),
    )


def not_confirmed(ours: Iterable[Reservation], lines: Iterable[Line]) -> tuple[Reservation, ...]:
    """Return our charged jobs whose cost neither the provider nor a line here confirms."""
    named = {line.reservation.id for line in lines if line.reservation and line.theirs is not None}
    return tuple(
        one
        for one in ours
        if one.state is State.COMMITTED and not one.is_confirmed and one.id not in named
    )


def _lines(
    record: Record,
    everywhere: Sequence[Reservation],
    named: set[str],
    *,
    now: datetime,
    lag_s: float,
) -> list[Line]:
    """Compare, and add what only one side has.

    A bill goes by its own dates, not ours: a task that it names is compared whenever its job was
    made.
    """
    ours = [one for one in everywhere if record.is_of_its_time(one) or one.task_id in named]
    elsewhere = [one for one in ours if one.task_id in named and not record.may_be_of(one)]
    lines, matched, unclaimed = compare(record, ours, elsewhere)
    lines.extend(only_theirs(unclaimed, matched.rest))
    lines.extend(only_ours(record, matched.rest, unclaimed, now=now, lag_s=lag_s))
    return lines


def _unlisted(record: Record, everywhere: Sequence[Reservation], named: set[str]) -> Iterator[str]:
    """Yield our tasks that a complete bill has no row for."""
    for one in everywhere:
        task_id = one.task_id
        is_covered = record.covers(one) and record.is_of(one)
        if task_id is not None and task_id not in named and is_covered:
            yield task_id
