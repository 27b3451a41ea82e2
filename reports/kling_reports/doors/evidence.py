"""Evidence: one row is one task, as a provider's record showed it in the last comparison."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pandas as pd

from kling_ledger.ledger.engines.database import Database
from kling_reports.frames import frame_of
from kling_reports.report import Kind

RECORD_KINDS: Final[Mapping[str, Kind]] = {
    "provider": "text",
    "account": "text",
    "task_id": "text",
    "reservation_id": "text",
    "verdict": "text",
    "billed_micro": "money",
    "spent_micro": "money",
    "unit": "text",
    "source": "text",
    "checked_at": "instant",
    "project": "text",
    "model": "text",
    "wallet": "text",
}
"""The columns of what providers' own records said: `billed_micro` is theirs, `spent_micro` ours,
each missing if there is none; so is an `account` from before accounts were recorded. If they bill
in another unit, our amount is missing: two units have no difference."""


def records(database: Database) -> pd.DataFrame:
    """Return every task that was compared with a provider's record, with RECORD_KINDS."""
    with database.read() as transaction:
        rows = transaction.rows(
            "SELECT record.provider, NULLIF(record.account, '') AS account, record.task_id,"
            " reservation_id, verdict, billed_micro,"
            " CASE WHEN COALESCE(record.unit, reservation.unit) = reservation.unit THEN"
            " COALESCE(committed_micro, 0) - refunded_micro END AS spent_micro,"
            " COALESCE(record.unit, reservation.unit) AS unit, source, checked_at, project, model,"
            " wallet.name AS wallet FROM provider_record AS record"
            # A task that only the provider knows has no reservation, hence the LEFT JOIN.
            " LEFT JOIN reservation ON reservation.id = record.reservation_id"
            " LEFT JOIN wallet ON wallet.id = reservation.wallet_id"
            " ORDER BY record.provider, record.account, record.task_id"
        )
    return frame_of(rows, RECORD_KINDS)
