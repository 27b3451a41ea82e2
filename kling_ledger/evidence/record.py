"""Record: what one source says about an account's tasks, and what it covers."""

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
    """A bill of one account, with what matching needs to know.

    `earlier` are rows of bills that were applied before. `is_complete`: it has every charge for
    jobs made between `since` (inclusive) and `until` (exclusive). `has_unzoned_times`: the instants
    of some rows are unknown. `is_cut_off`: the bill itself says that rows are missing. `address` is
    where the provider is reached. `is_only_account`: the ledger knows no other account at the
    provider.
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
        """Whether a reservation's job ran on this account, at this address.

        A job of a script's own client names neither: it belongs to the account if that is the only
        one.
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
        """Whether the record has every charge from the time in which a job was made."""
        return self.is_complete and self.is_of_its_time(one)

    def is_of_its_time(self, one: Reservation) -> bool:
        """Whether a job was made between `since` and `until`."""
        is_after = self.since is None or one.created_at >= self.since
        return is_after and (self.until is None or one.created_at < self.until)


@dataclass(frozen=True, slots=True)
class Reading:
    """What the rows of one task say: its cost, or why that is uncertain.

    `cost` is the whole cost. If it is None, `question` says what is unclear, or `refund` is what
    the rows give back of a cost that they do not name. `is_running`: the rows show no cost yet.
    `seen` is what they add up to, for the person who decides.
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
    """The rows of one task: those of this record, and those of earlier bills."""

    task_id: str
    entries: tuple[Entry, ...]
    earlier: tuple[BillEntry, ...] = ()


def named_by(raw: Mapping[str, str], known: frozenset[str]) -> str | None:
    """Return the one known task that a row names in any of its cells, None if none or several."""
    named = {text.strip() for text in raw.values()} & known
    return named.pop() if len(named) == 1 else None
