"""As of a month: one row is one job in its state at a month's end, from what a seal covers.

Its transfers and events up to the month give what it held, its cost and the basis of the cost. The
reservation's row has today's state, so only its facts that never change are read. Older events
without a month or a cost's basis contribute nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pandas as pd

from kling_ledger.ledger.engines.database import Database
from kling_ledger.ledger.reservations import CONFIRMED_BY
from kling_reports.doors.told import QUOTED
from kling_reports.frames import frame_of
from kling_reports.report import Kind

JOB_KINDS: Final[Mapping[str, Kind]] = {
    "reservation_id": "text",
    "created_at": "instant",
    "state": "text",
    "settled_by": "text",
    "quoted_micro": "money",
    "low_micro": "money",
    "estimated_micro": "money",
    "most_micro": "money",
    "held_micro": "money",
    "charged_micro": "money",
    "refunded_micro": "money",
    "undone_micro": "money",
    "unit": "text",
    "wallet": "text",
    "project": "text",
    "provider": "text",
    "model": "text",
    "actor": "text",
}
"""The columns of jobs as of a month. `quoted_micro`, `low_micro` and `estimated_micro` are what was
known when the job was made. `most_micro` is the most that was held for it until then, `held_micro`
what still is; `charged_micro` is everything charged, of which `refunded_micro` came back;
`undone_micro` was charged before the job was reopened, and came back too. `state` and `settled_by`
are missing if no event has them."""

_CONFIRMED: Final = ", ".join(f"'{word}'" for word in CONFIRMED_BY)
_HELD: Final = (
    "CASE WHEN kind IN ('reserve', 'reopen') THEN amount_micro"
    " WHEN kind IN ('commit', 'return', 'roll_back', 'expire') THEN -amount_micro ELSE 0 END"
)
# A committed amount is no longer held, but was; only what came back reduces the most held.
_HELD_SO_FAR: Final = (
    "CASE WHEN kind IN ('reserve', 'reopen') THEN amount_micro"
    " WHEN kind IN ('return', 'roll_back', 'expire', 'refund') THEN -amount_micro ELSE 0 END"
)
_CHARGED: Final = (
    "CASE WHEN kind IN ('commit', 'overrun', 'late_commit') THEN amount_micro ELSE 0 END"
)
_OPEN: Final = f"""
SELECT reservation_id FROM transfer WHERE period <= :chosen AND reservation_id IS NOT NULL
GROUP BY reservation_id HAVING SUM({_HELD}) <> 0
"""
_NOT_CONFIRMED: Final = f"""
SELECT event.reservation_id FROM job_event AS event
WHERE event.period <= :chosen AND event.to_state = 'committed'
  AND COALESCE(event.settled_by, '') NOT IN ({_CONFIRMED})
  AND NOT EXISTS (SELECT 1 FROM job_event AS later
    WHERE later.reservation_id = event.reservation_id AND later.step > event.step
      AND later.period <= :chosen)
"""
_TOUCHED: Final = "SELECT reservation_id FROM transfer WHERE period = :chosen"
_AS_OF: Final = f"""
WITH moved AS (
    SELECT reservation_id, id, kind, amount_micro,
        SUM({_HELD_SO_FAR}) OVER (PARTITION BY reservation_id ORDER BY id) AS so_far,
        MAX(CASE WHEN kind = 'reopen' THEN id END) OVER (PARTITION BY reservation_id) AS opened
    FROM transfer WHERE period <= :month AND reservation_id IN ({{chosen}})
), summed AS (
    SELECT reservation_id, MAX(so_far) AS most_micro, SUM({_HELD}) AS held_micro,
        SUM({_CHARGED}) AS charged_micro,
        SUM(CASE WHEN kind = 'refund' THEN amount_micro ELSE 0 END) AS refunded_micro,
        SUM(CASE WHEN id < opened THEN {_CHARGED} ELSE 0 END) AS undone_micro
    FROM moved GROUP BY reservation_id
)
SELECT summed.reservation_id, reservation.created_at, told.to_state AS state, told.settled_by,
    {QUOTED} AS quoted_micro, low_micro, estimated_micro, most_micro, summed.held_micro,
    charged_micro, summed.refunded_micro, undone_micro, reservation.unit, wallet.name AS wallet,
    project, provider, model, reservation.actor
FROM summed JOIN reservation ON reservation.id = summed.reservation_id
JOIN wallet ON wallet.id = reservation.wallet_id
LEFT JOIN job_event AS told ON told.reservation_id = summed.reservation_id
    AND told.step = (SELECT MAX(step) FROM job_event AS event
        WHERE event.reservation_id = summed.reservation_id AND event.period <= :month)
ORDER BY summed.reservation_id
"""


def unsettled(database: Database, month: str, *, as_of: str | None = None) -> pd.DataFrame:
    """Return the jobs that were open, or whose cost was unconfirmed, when a month ended.

    With JOB_KINDS, in their state then, or at the end of a later month.
    """
    return _read(database, f"{_OPEN} UNION {_NOT_CONFIRMED}", chosen_in=month, as_of=as_of or month)


def touched(database: Database, month: str) -> pd.DataFrame:
    """Return the jobs with transfers in a month, in their state at its end, with JOB_KINDS."""
    return _read(database, _TOUCHED, chosen_in=month, as_of=month)


def cost_not_confirmed(database: Database, month: str) -> dict[str, int]:
    """Add up by unit what the jobs without a confirmed cost had paid their providers by a month.

    From the transfers and the last events only, in millionths: a check of `unsettled`.
    """
    to, back = (f"substr({side}_account, 1, 9) = 'provider/'" for side in ("credit", "debit"))
    with database.read() as transaction:
        rows = transaction.rows(
            f"SELECT unit, SUM(CASE WHEN {to} THEN amount_micro ELSE -amount_micro END) AS micro"
            " FROM transfer JOIN (SELECT reservation_id AS id, MAX(step) AS step FROM job_event"
            "  WHERE period <= :month GROUP BY reservation_id) AS last"
            " ON last.id = transfer.reservation_id"
            " JOIN job_event AS told ON told.reservation_id = last.id AND told.step = last.step"
            f" WHERE transfer.period <= :month AND ({to} OR {back}) AND told.to_state = 'committed'"
            f" AND (told.settled_by IS NULL OR told.settled_by NOT IN ({_CONFIRMED}))"
            " GROUP BY unit",
            month=month,
        )
    return {str(row["unit"]): int(row["micro"]) for row in rows}


def _read(database: Database, chosen: str, *, chosen_in: str, as_of: str) -> pd.DataFrame:
    with database.read() as transaction:
        rows = transaction.rows(_AS_OF.format(chosen=chosen), chosen=chosen_in, month=as_of)
    return frame_of(rows, JOB_KINDS)
