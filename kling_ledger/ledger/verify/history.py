"""History: a reservation's task, settlement and worth must be those of its last event.

Events from before these were recorded are not checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kling_ledger.ledger.engines.transaction import Transaction
from kling_ledger.ledger.verify.findings import Finding

_LAW: Final = "a reservation's task, settlement and worth are those of its last event"
_DIFFERENT: Final = """
SELECT reservation.id AS subject,
       'it says task ' || COALESCE(reservation.task_id, 'none') || ', settled by '
       || COALESCE(reservation.settled_by, 'nobody') || ', worth '
       || COALESCE(CAST(reservation.usd_micro AS text), 'unknown') || '; its last event says task '
       || COALESCE(event.task_id, 'none') || ', settled by '
       || COALESCE(event.settled_by, 'nobody') || ', worth '
       || COALESCE(CAST(event.usd_micro AS text), 'unknown') AS problem
FROM reservation JOIN job_event AS event
    ON event.reservation_id = reservation.id AND event.step = reservation.step
WHERE event.period IS NOT NULL
  AND (COALESCE(reservation.task_id, '') <> COALESCE(event.task_id, '')
    OR COALESCE(reservation.settled_by, '') <> COALESCE(event.settled_by, '')
    OR COALESCE(reservation.usd_micro, -1) <> COALESCE(event.usd_micro, -1))
"""


def history_findings(transaction: Transaction) -> Iterator[Finding]:
    """Compare every reservation with its last event."""
    for row in transaction.rows(_DIFFERENT):
        yield Finding(_LAW, row["subject"], row["problem"])
