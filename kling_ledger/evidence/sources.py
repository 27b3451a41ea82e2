"""Sources: where a provider's record is read, and which of our reservations it is about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from kling_ledger.evidence.bills import read_statement
from kling_ledger.evidence.charges import Record
from kling_ledger.evidence.matching import with_theirs
from kling_ledger.evidence.tasks import ask_tasks
from kling_ledger.jobs.recovery import MeterFor
from kling_ledger.ledger import Ledger, Reservation
from kling_ledger.providers.registry import provider_facts


@dataclass(frozen=True, slots=True)
class Bill:
    """A bill: its file, what it calls our columns, and what it covers, as `Record` says it."""

    path: Path
    mapping: Mapping[str, str]
    covers_all: bool
    address: str


@dataclass(frozen=True, slots=True)
class Source:
    """A provider's record of jobs made from `since` (inclusive) to `until` (exclusive).

    It is read from a bill, or else task by task.
    """

    provider: str
    bill: Bill | None
    since: datetime | None
    until: datetime | None

    def read(self, ledger: Ledger, meter_for: MeterFor) -> tuple[Record, list[Reservation]]:
        """Return the provider's record, and our reservations of the same time."""
        ours = ledger.reservations.at_provider(self.provider, since=self.since, until=self.until)
        if self.bill is None:
            billed = ledger.evidence.billed_at(self.provider, "")
            return ask_tasks(self.provider, ours, meter_for, billed=billed), ours
        record = self._record(self.bill)
        return record, with_theirs(
            record, ours, lambda task_id: ledger.reservations.of_task(self.provider, task_id)
        )

    def _record(self, bill: Bill) -> Record:
        unit = provider_facts(self.provider).unit
        return Record(
            self.provider,
            bill.path.name,
            tuple(read_statement(bill.path, unit=unit, mapping=bill.mapping)),
            covers_all=bill.covers_all,
            since=self.since,
            until=self.until,
            address=bill.address,
        )
