"""Apply: turns proposed lines into one plan, and a comparison into records to keep.

`ledger.evidence.apply` makes exactly that plan.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from hashlib import sha256

from kling_ledger.evidence.entries import Entry, Kind
from kling_ledger.evidence.plan import Line
from kling_ledger.ledger import ProviderRecord
from kling_ledger.ledger.corrections import BillEntry, Correction, CorrectionPlan


def plan_of(
    provider: str,
    account: str,
    source: str,
    lines: Iterable[Line],
    entries: Sequence[Entry] = (),
    *,
    unlisted: Sequence[str] = (),
) -> CorrectionPlan:
    """Return the corrections that lines propose, each with the step its reservation was at.

    `entries` are the rows of a bill: those of our own jobs are kept with the corrections, even if
    they left a question open, so that a later, partial bill is not taken for the whole. For each of
    the `unlisted` tasks it is kept that a complete bill has no charge.
    """
    told = list(lines)
    ours = {one.task_id for one in told if one.reservation is not None}
    return CorrectionPlan(
        provider,
        account,
        source,
        [
            Correction(one.change.reservation_id, one.reservation.step, one.change)
            for one in told
            if one.change is not None and one.reservation is not None
        ],
        [
            *(
                [_kept(row) for line in told if line.task_id in ours for row in line.evidence]
                if entries
                else []
            ),
            *(_unlisted(source, task_id) for task_id in unlisted),
        ],
    )


def records_of(
    provider: str, account: str, source: str, lines: Iterable[Line]
) -> list[ProviderRecord]:
    """Return what the ledger keeps of a comparison: what the provider said about each task."""
    return [
        ProviderRecord(
            provider=provider,
            account=account,
            task_id=line.task_id,
            reservation_id=None if line.reservation is None else line.reservation.id,
            verdict=line.verdict,
            state=line.state,
            billed=line.theirs,
            source=source,
        )
        for line in lines
        if line.task_id is not None and (line.evidence or line.theirs is not None)
    ]


def _unlisted(source: str, task_id: str) -> BillEntry:
    """Return the entry that says that a complete bill has no charge for a task."""
    raw = {"no charge for": task_id, "in": source}
    digest = sha256(json.dumps(raw, sort_keys=True).encode()).hexdigest()
    return BillEntry(digest, task_id, Kind.TOTAL, None, "", None, None, "", raw)


def _kept(entry: Entry) -> BillEntry:
    return BillEntry(
        entry.digest,
        entry.task_id,
        entry.kind,
        entry.amount,
        "" if entry.amount is None else entry.amount.unit,
        None if entry.state is None else str(entry.state),
        entry.at,
        entry.place,
        entry.raw,
    )
