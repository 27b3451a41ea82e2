"""Apply: exactly the proposed changes are made, and what was compared is kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kling_ledger.evidence.charges import Record
from kling_ledger.evidence.plan import Line
from kling_ledger.ledger import Ledger, ProviderRecord
from kling_pricing.errors import KlingError


def apply(ledger: Ledger, lines: Iterable[Line]) -> Iterator[tuple[Line, KlingError | None]]:
    """Make the proposed changes, line by line; with each line, the error that kept it as it was."""
    for line in lines:
        if not line.proposal:
            continue
        try:
            ledger.settle(line.proposal)
        except KlingError as error:
            yield line, error
        else:
            yield line, None


def records_of(record: Record, lines: Iterable[Line]) -> list[ProviderRecord]:
    """Return what the ledger keeps of a comparison: what the provider said of each task."""
    return [
        ProviderRecord(
            provider=record.provider,
            account=record.account or "",
            task_id=line.charge.task_id,
            reservation_id=None if line.reservation is None else line.reservation.id,
            verdict=line.verdict,
            state=line.charge.state,
            billed=line.charge.amount,
            source=record.source,
        )
        for line in lines
        if line.charge is not None and line.charge.task_id not in record.billed
    ]
