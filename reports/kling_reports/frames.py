"""The only door from the database to pandas: fixed columns, fixed types.

Amounts stay integers of millionths inside a frame, so that sums are exact; they become decimals
when they are rendered.
"""

from __future__ import annotations

from typing import Any, Final

import pandas as pd

from kling_ledger.ledger.database import Database
from kling_ledger.ledger.tables import OPEN_STATES

RESERVATION_TYPES: Final = {
    "id": "string",
    "wallet": "string",
    "state": "string",
    "is_open": "bool",
    "unit": "string",
    "project": "string",
    "provider": "string",
    "model": "string",
    "action": "string",
    "resolution": "string",
    "sound": "boolean",
    "billed_seconds": "Int64",
    "reserved_micro": "int64",
    "committed_micro": "int64",
    "created_at": "datetime64[us, UTC]",
}
"""One row a reservation. `committed_micro` is 0 until a job is charged; `created_at` is UTC."""

_QUERY: Final = """
SELECT reservation.id, wallet.name AS wallet, reservation.state, reservation.unit,
       reservation.project, reservation.provider, reservation.model, reservation.action,
       reservation.resolution, reservation.sound, reservation.billed_seconds,
       reservation.reserved_micro, COALESCE(reservation.committed_micro, 0) AS committed_micro,
       reservation.created_at
FROM reservation JOIN wallet ON wallet.id = reservation.wallet_id
ORDER BY reservation.created_at, reservation.id
"""


def reservations(database: Database) -> pd.DataFrame:
    """Return every reservation, oldest first, with the columns of RESERVATION_TYPES."""
    with database.read() as transaction:
        return _typed(transaction.rows(_QUERY))


def no_reservations() -> pd.DataFrame:
    """Return the frame of a ledger in which nothing was reserved."""
    return _typed([])


def _typed(rows: list[dict[str, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=[name for name in RESERVATION_TYPES if name != "is_open"])
    frame["created_at"] = pd.to_datetime(frame["created_at"], unit="us", utc=True)
    frame["is_open"] = frame["state"].isin([str(state) for state in OPEN_STATES])
    return frame[list(RESERVATION_TYPES)].astype(RESERVATION_TYPES)
