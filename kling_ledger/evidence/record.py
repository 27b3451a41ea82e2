"""Record: what one source says of an account's tasks, and how far it goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from kling_ledger.evidence.entries import Entry
from kling_ledger.ledger import Reservation
from kling_ledger.ledger.corrections import BillEntry
from kling_pricing.money import Money


@dataclass(frozen=True, slots=True)
class Record:
    """A bill of one account, as far as it is relevant to matching.

    `earlier` are rows of bills that were taken into account before. `is_complete` says that every
    charge of jobs made between `since` (inclusive) and `until` (exclusive) is in it. With
    `has_unzoned_times` some stamps are of an unknown instant; with `is_cut_off` the bill itself
    says that rows are missing. `address` is where the provider is whose bill it is. With
    `is_only_account` the ledger knows of no other account at the provider.
    """

    provider: str
    account: str
    source: str
    entries: tuple[Entry, ...]
    earlier: tuple[BillEntry, ...] = ()
    address: str | None = None
    is_complete: bool = False
    is_itemised: bool = False
    has_unzoned_times: bool = False
    is_cut_off: bool = False
    since: datetime | None = None
    until: datetime | None = None
    is_only_account: bool = False

    def is_of(self, one: Reservation) -> bool:
        """Whether a reservation's job ran on the account, where this record was kept.

        A job of a script's own client names neither account nor address: it is of the only account.
        """
        job = one.job
        if job.account is None and job.address is None and self.is_only_account:
            return job.provider == self.provider
        return self.may_be_of(one) and job.account == self.account

    def may_be_of(self, one: Reservation) -> bool:
        """Whether a job could have run on the account: nothing says that it ran elsewhere."""
        job = one.job
        is_there = self.address is None or job.address in {None, self.address}
        return is_there and job.provider == self.provider and job.account in {None, self.account}

    def covers(self, one: Reservation) -> bool:
        """Whether a job was made in the time of which the record has every charge."""
        return self.is_complete and self.is_of_its_time(one)

    def is_of_its_time(self, one: Reservation) -> bool:
        """Whether a job was made in the time that is looked at."""
        is_after = self.since is None or one.created_at >= self.since
        return is_after and (self.until is None or one.created_at < self.until)


@dataclass(frozen=True, slots=True)
class Reading:
    """What the rows of one task come to: its cost, or why that is not certain.

    `cost` is the whole cost. Where it is None, `question` says what would have to be known; with
    `refund`, what the rows give back of a cost that they do not name. `is_running` says that the
    rows tell of no cost yet, `seen` is what they add up to, for the person who decides.
    """

    cost: Money | None = None
    question: str | None = None
    refund: Money | None = None
    is_running: bool = False
    has_failed: bool = False
    seen: Money | None = None
    is_twice: bool = False
    entries: tuple[Entry, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class TaskRows:
    """The rows of one task: those of this record, and what earlier bills had beside them."""

    task_id: str
    entries: tuple[Entry, ...]
    earlier: tuple[BillEntry, ...] = ()


def named_by(raw: Mapping[str, str], known: frozenset[str]) -> str | None:
    """Return the one known task that a row names in any of its cells, None if none or several."""
    named = {text.strip() for text in raw.values()} & known
    return named.pop() if len(named) == 1 else None
